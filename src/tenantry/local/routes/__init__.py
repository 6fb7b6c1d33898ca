"""One module a resource of Neon's API."""
