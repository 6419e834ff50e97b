"""What builds and runs engines, one module each; ``select`` says which serves a device on this
machine.
"""
