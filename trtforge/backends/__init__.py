"""What builds and runs engines, one module each. ``pipeline/targets.py`` chooses the one that serves
a device on this machine.
"""
