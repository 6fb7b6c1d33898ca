"""The local engine: Neon's API v2 over Postgres clusters on this machine."""
