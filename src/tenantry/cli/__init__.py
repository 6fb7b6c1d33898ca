"""The command line: a module a noun. Parse, call, print."""
