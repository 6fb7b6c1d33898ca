"""The control plane: what is wanted against what is there, and carrying out the difference."""
