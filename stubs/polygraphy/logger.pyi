from contextlib import AbstractContextManager

class Logger:
    CRITICAL: int
    def verbosity(self, severity: int) -> AbstractContextManager[object]: ...

G_LOGGER: Logger
