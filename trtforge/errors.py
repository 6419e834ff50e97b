"""The errors that a user can put right. Any other error is a bug, and keeps its traceback.

Each class has its own exit code of the command line (0 is success)::

    1  BuildError    the builder refused a valid model
    2  ForgeError    something the user passed is wrong: path, model, images, recipe, output folder
    3  MachineError  engine, driver, GPU or package missing or unfit on this machine
    4  GateError     a gate was not met: accuracy, latency, lint, export mismatch
"""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class ForgeError(Exception):
    """A problem in one line, and a hint that says what to do about it.

    Args:
        problem: one sentence that names the file, node or key.
        hint: what the user can do; empty only where the problem says it all.

    Attributes:
        code: exit code of the command line.
        result: what was measured before, where a limit is not met.
    """

    code = 2
    result: object | None = None

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class BuildError(ForgeError):
    """The builder refused a model that is valid ONNX."""

    code = 1


class MachineError(ForgeError):
    """This machine lacks an engine library, driver, GPU or package that the task needs."""

    code = 3


class GateError(ForgeError):
    """A measured figure does not meet the limit that the user set."""

    code = 4


def foreseen(error: OSError) -> ForgeError | None:
    """Return the error of the user for a full disk or a closed file; None for any other error."""
    why, where = (error.strerror or "").lower(), f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return MachineError(
            f"{where or 'the disk: '}can't be written ({why})",
            "make room, or raise the limit, and run again: finished stages are kept",
        )
    if error.errno in CLOSED and where:
        return ForgeError(
            f"{where}can't be read or written ({why})",
            "change its permissions, or give another path",
        )
    return None
