"""Pure functions on one in-memory graph: no files (but for ``model``), no logging, one rewrite a
module.
"""
