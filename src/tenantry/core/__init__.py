"""Values, errors, and names that two layers share. Standard library only, no I/O."""
