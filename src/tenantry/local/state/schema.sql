-- What the engine remembers. Passwords stand here in clear, as Neon stores them: the file has mode 600.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    pg_version INTEGER NOT NULL,
    region_id TEXT NOT NULL,
    history_retention_seconds INTEGER NOT NULL,
    settings TEXT NOT NULL,
    default_endpoint_settings TEXT NOT NULL,
    superuser_password TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE branches (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects ON DELETE CASCADE,
    name TEXT NOT NULL,
    directory TEXT NOT NULL UNIQUE,
    -- Checked at commit: a project goes with all its branches, a parent never goes from under its child.
    parent_id TEXT REFERENCES branches DEFERRABLE INITIALLY DEFERRED,
    parent_lsn TEXT,
    parent_timestamp TEXT,
    is_default INTEGER NOT NULL,
    protected INTEGER NOT NULL,
    expires_at TEXT,
    ttl_interval_seconds INTEGER,
    init_source TEXT NOT NULL,
    annotation TEXT NOT NULL,
    clone_method TEXT,
    logical_size INTEGER,
    restored_from TEXT,
    restored_as TEXT,
    last_reset_at TEXT,
    state_changed_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;
CREATE INDEX branches_of_parent ON branches (parent_id);
CREATE UNIQUE INDEX one_default_a_project ON branches (project_id) WHERE is_default;

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects ON DELETE CASCADE,
    branch_id TEXT NOT NULL REFERENCES branches ON DELETE CASCADE,
    name TEXT,
    type TEXT NOT NULL,
    port INTEGER NOT NULL UNIQUE,
    active INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    autoscaling_limit_min_cu REAL NOT NULL,
    autoscaling_limit_max_cu REAL NOT NULL,
    suspend_timeout_seconds INTEGER NOT NULL,
    settings TEXT NOT NULL,
    started_at TEXT,
    suspended_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_read_write_endpoint_a_branch ON endpoints (branch_id) WHERE type = 'read_write';

CREATE TABLE roles (
    branch_id TEXT NOT NULL REFERENCES branches ON DELETE CASCADE,
    name TEXT NOT NULL,
    password TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (branch_id, name)
) STRICT;

CREATE TABLE databases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    branch_id TEXT NOT NULL REFERENCES branches ON DELETE CASCADE,
    name TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (branch_id, name)
) STRICT;

-- Outlives the branch and the endpoint that it is about.
CREATE TABLE operations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    branch_id TEXT,
    endpoint_id TEXT,
    action TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    failures_count INTEGER NOT NULL,
    total_duration_ms INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX operations_of_project ON operations (project_id, number);
CREATE INDEX unfinished_operations ON operations (status) WHERE status IN ('scheduling', 'running');

-- What a data directory holds of the past: WAL of its own from `wal_from` on, before that its ancestor's. One that
-- has ended belongs to a branch that was reset: only its WAL is kept.
CREATE TABLE lineages (
    directory TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects ON DELETE CASCADE,
    branch_id TEXT NOT NULL REFERENCES branches ON DELETE CASCADE,
    ancestor TEXT,
    timeline INTEGER NOT NULL,
    wal_from TEXT NOT NULL,
    began_at TEXT NOT NULL,
    began_lsn TEXT NOT NULL,
    ended_at TEXT,
    ended_lsn TEXT
) STRICT;
CREATE INDEX lineages_of_branch ON lineages (branch_id);
CREATE INDEX lineages_of_project ON lineages (project_id);

CREATE TABLE bases (
    id TEXT PRIMARY KEY,
    directory TEXT NOT NULL REFERENCES lineages ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    start_lsn TEXT NOT NULL,
    end_lsn TEXT NOT NULL,
    taken_at TEXT NOT NULL
) STRICT;
CREATE INDEX bases_of_lineage ON bases (directory);

-- Outlives the branch that it is of.
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects ON DELETE CASCADE,
    name TEXT NOT NULL,
    source_branch_id TEXT,
    lsn TEXT,
    timestamp TEXT,
    expires_at TEXT,
    roles TEXT NOT NULL,
    full_size INTEGER NOT NULL,
    timeline INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX snapshots_of_project ON snapshots (project_id);
