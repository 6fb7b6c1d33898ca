"""What a branch was at a moment: which base and which WAL give it, how it is replayed, and what can be dropped."""
