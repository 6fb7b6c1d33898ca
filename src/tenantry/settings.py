"""Settings: read once from the environment and the command line; everything below gets arguments."""
