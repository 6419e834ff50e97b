"""Pure functions on one in-memory graph: one rewrite a module, no logging.

Only ``model`` reads and writes files.
"""
