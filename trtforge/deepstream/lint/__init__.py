"""Find what DeepStream ignores, refuses, or silently does otherwise: one family of rules a file."""
