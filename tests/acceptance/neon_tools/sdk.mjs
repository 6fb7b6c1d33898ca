// A tour with @neon/sdk: prints what the engine answered, as one JSON document.
import { createNeonClient } from "@neon/sdk";

const neon = createNeonClient({
  apiKey: process.env.NEON_API_KEY,
  baseUrl: process.env.NEON_API_HOST,
  throwOnError: true,
});
const said = {};
const all = async (pages) => {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
};

const started = Date.now();
const { project, connectionString } = await neon.projects.createAndConnect({ name: "sdk", pooled: false });
const projectId = project.id;
said.uri = connectionString;
said.project = (await neon.projects.get({ projectId })).name;
const main = await neon.branches.getDefault({ projectId });
said.main = main.name;
const made = await neon.branches.createAndConnect({ projectId, name: "child", parent_id: main.id, pooled: false });
said.childUri = made.connectionString;
said.quick = Date.now() - started < 30000;
said.branches = (await all(neon.branches.list({ projectId }))).map((one) => one.name).sort();
said.projects = (await all(neon.projects.list({}))).map((one) => one.name);
said.operations = (await all(neon.operations.list({ projectId }))).every((one) => one.status === "finished");
const missing = await neon.branches.get({ projectId, branchId: "br-not-there-00000000" }, { throwOnError: false });
said.missing = [missing.error.kind, missing.error.status];
await neon.branches.delete({ projectId, branchId: made.branch.id });
await neon.projects.delete({ projectId });
const gone = await neon.projects.get({ projectId }, { throwOnError: false });
said.gone = gone.error.kind;
console.log(JSON.stringify(said));
