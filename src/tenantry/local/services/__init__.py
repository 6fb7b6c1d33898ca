"""What each resource's requests do: rules decide, computes and the store carry out. Synchronous, one thread a call."""
