"""The one place that knows both Neon over HTTPS and the local engine."""
