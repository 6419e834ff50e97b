"""Options of the commands and of the Python API, and how their values are read."""
