-- Run as the owner. {app} and {register} are the roles that the applications and their gate log in with.
CREATE SCHEMA tickets;
CREATE TABLE tickets.tickets (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    tenant_id uuid NOT NULL DEFAULT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid,
    title text NOT NULL,
    author text NOT NULL
);
CREATE INDEX ON tickets.tickets (tenant_id);
ALTER TABLE tickets.tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tickets.tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tickets.tickets
    USING (tenant_id = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid));
GRANT USAGE ON SCHEMA tickets TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON tickets.tickets TO {app};

CREATE SCHEMA register;
CREATE TABLE register.tenants (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'active'
);
CREATE TABLE register.members (
    tenant_id uuid NOT NULL REFERENCES register.tenants,
    user_id text NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
GRANT USAGE ON SCHEMA register TO {register};
GRANT SELECT ON register.tenants, register.members TO {register};
