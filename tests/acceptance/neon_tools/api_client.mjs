// A tour with @neondatabase/api-client: prints what the engine answered, as one JSON document.
import { createApiClient } from "@neondatabase/api-client";

const api = createApiClient({ apiKey: process.env.NEON_API_KEY, baseURL: process.env.NEON_API_HOST });
const status = (call) => call.then((answer) => answer.status, (error) => error.response.status);
const said = {};

const { data: made } = await api.createProject({ project: { name: "api-client" } });
const project = made.project.id;
said.projects = (await api.listProjects({})).data.projects.map((one) => one.name);
said.project = (await api.getProject(project)).data.project.name;
said.user = (await api.getCurrentUserInfo()).data.plan;
said.renamed = (await api.updateProject(project, { project: { name: "renamed" } })).data.project.name;

const { data: child } = await api.createProjectBranch(project, {
  branch: { name: "child", parent_id: made.branch.id },
  endpoints: [{ type: "read_write" }],
});
const branch = child.branch.id;
said.branches = (await api.listProjectBranches({ projectId: project })).data.branches.map((one) => one.name).sort();
said.parent = (await api.getProjectBranch(project, branch)).data.branch.parent_id === made.branch.id;
const endpoint = child.endpoints[0].id;
said.suspended = (await api.suspendProjectEndpoint(project, endpoint)).data.endpoint.current_state;
said.started = (await api.startProjectEndpoint(project, endpoint)).data.endpoint.current_state;
await api.createProjectBranchRole(project, branch, { role: { name: "reader" } });
await api.createProjectBranchDatabase(project, branch, { database: { name: "shop", owner_name: "reader" } });
said.databases = (await api.listProjectBranchDatabases(project, branch)).data.databases.map((one) => one.name);
said.password = (await api.getProjectBranchRolePassword(project, branch, "reader")).data.password.length > 15;
said.uri = (
  await api.getConnectionUri({ projectId: project, branch_id: branch, database_name: "shop", role_name: "reader" })
).data.uri;
said.schema = (
  await api.getProjectBranchSchema({ projectId: project, branchId: branch, db_name: "shop" })
).data.sql.includes("PostgreSQL database dump");
said.diff = (
  await api.getProjectBranchSchemaComparison({ projectId: project, branchId: branch, db_name: "neondb" })
).data.diff;
said.restored = (
  await api.restoreProjectBranch(project, branch, { source_branch_id: made.branch.id })
).data.branch.id === branch;
said.operations = (await api.listProjectOperations({ projectId: project })).data.operations.map((one) => one.status);
said.missing = await status(api.getProjectBranch(project, "br-not-there-00000000"));
said.unserved = await status(api.listApiKeys());
said.deleted = [await status(api.deleteProjectBranch({ projectId: project, branchId: branch })), await status(api.deleteProject(project))];
console.log(JSON.stringify(said));
