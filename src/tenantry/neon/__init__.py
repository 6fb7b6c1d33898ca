"""Neon's API v2: the shapes on the wire, and a client with one method an operationId."""
