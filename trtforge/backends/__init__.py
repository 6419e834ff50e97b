"""What runs or builds engines: a backend is a module with ``build``, found through the dict in ``select``."""
