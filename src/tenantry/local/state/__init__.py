"""What the engine remembers: records in SQLite, and the operations that a change is made of."""
