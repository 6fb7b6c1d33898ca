"""What Neon's serverless driver speaks: SQL over HTTP, and Postgres's wire in a WebSocket."""
