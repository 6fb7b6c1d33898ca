"""Where passwords and keys come from. They are never in the layout, logs, reprs or errors."""
