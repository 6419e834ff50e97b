"""Backends that build and run engines: one module for each.

``pipeline/targets.py`` chooses the backend for a device on this machine.
"""
