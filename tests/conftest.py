"""The plugins that the tests use: `tests/plugins/`, one a subject."""

pytest_plugins = [
    "pytester",
    "tests.plugins.ci",
    "tests.plugins.engine",
    "tests.plugins.cli",
    "tests.plugins.node",
    "tests.plugins.postgres",
    "tests.plugins.pgbouncer",
    "tests.plugins.root",
    "tests.plugins.site",
    "tests.plugins.shop",
    "tests.plugins.connections",
    "tests.plugins.signed",
    "tests.plugins.tools",
    "tests.plugins.unsafe",
    "tests.plugins.web",
    "tests.plugins.asyncpg_ways",
]
