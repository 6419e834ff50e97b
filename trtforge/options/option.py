"""Describe options once, for the command line and for Python.

    Score = Annotated[float | None, Option(help="Lowest score of a detection, 0 to 1.")]

The annotated type is what Python takes. ``trtforge.cli.expand`` turns the rest into an option of
the command line.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """A positional argument of a command.

    Attributes:
        help: text for ``--help``.
        reads: the type for the command line, where Python takes more than one.
        repeated: whether several values may follow each other.
    """

    help: str
    reads: type[object] | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        names: its flags, such as ``--memory-pool``; empty: made from the parameter's name.
        help: text for ``--help``.
        low, high: the range of a number.
        reads: the type for the command line, where Python takes more than one.
        repeated: whether the option may be given several times.
        inverted: whether the flag means False.
    """

    names: tuple[str, ...] = ()
    help: str = ""
    low: float | None = None
    high: float | None = None
    reads: type[object] | None = None
    repeated: bool = False
    inverted: bool = False


@dataclass(frozen=True)
class Group:
    """A dataclass whose fields are options of a command.

    Attributes:
        kind: the dataclass.
        without: fields that this command does not have.
    """

    kind: type[object]
    without: tuple[str, ...] = ()
