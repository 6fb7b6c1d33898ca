"""Postgres clusters on this machine: found, made, started, cloned, stopped. Knows nothing of Neon's API."""
