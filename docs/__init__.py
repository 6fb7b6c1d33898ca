"""The documentation, and what renders the part of it that comes from the code."""
