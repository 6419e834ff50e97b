"""The Python API: one function for each command, and what the command line is made from.

The names are exported by ``trtforge`` itself. Modules here import nothing heavy before a function
is called.
"""
