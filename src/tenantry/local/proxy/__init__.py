"""The relay: the addresses of all endpoints, and what passes between a client and its compute."""
