"""One small application of tickets, in FastAPI and in Flask."""
