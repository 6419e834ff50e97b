"""The folder that `build` and `prepare` write: its manifest, and how it is written and read back."""
