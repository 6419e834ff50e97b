"""A stage: one step from files to files, with typed options and facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from trtforge.store.files import File
from trtforge.store.record import RECORD

Inputs = TypeVar("Inputs")
Options = TypeVar("Options")
Facts = TypeVar("Facts")
Known_co = TypeVar("Known_co", covariant=True)  # the facts of an artifact, which are only read


@dataclass(frozen=True)
class Nothing:
    """The inputs, options or facts of a stage that has none."""


NOTHING = Nothing()


def no_summary(facts: object) -> str:
    """Return the summary of a stage whose facts people need not read."""
    return ""


@dataclass(frozen=True)
class Stage(Generic[Inputs, Options, Facts]):
    """A step from files to files.

    The three types are frozen dataclasses. The fields of the inputs are ``File``, or ``File |
    None``; the fields of the facts all have a default, which means "not known yet".

    Attributes:
        run: ``run(draft, inputs, options)`` writes files into the folder ``draft``, and returns
            what it found out. It imports what is heavy itself, so that planning stays cheap.
        facts: the class of the facts.
        summarize: puts the facts in a line for people.
        version: raised whenever the same inputs give other results.
        tools: distributions whose version may change the results.
    """

    name: str
    version: int
    tools: tuple[str, ...]
    run: Callable[[Path, Inputs, Options], Facts]
    facts: type[Facts]
    summarize: Callable[[Facts], str] = no_summary


@dataclass(frozen=True)
class Artifact(Generic[Known_co]):
    """The result of a stage or, in a plan, the result that it would have.

    Attributes:
        stage: name of the stage.
        folder: holds the files; it may not exist while only planning.
        digests: sha256 of every file, by its path in the folder.
        facts: what the stage found out; the defaults while nothing is known.
        summary: the facts in a line for people; empty while nothing is known.
        planned: the stage has not run yet.
        cached: the store had it already.
        why: why the stage runs, or does not.
        seconds: how long the stage ran when it made this.
    """

    stage: str
    folder: Path
    digests: Mapping[str, str]
    facts: Known_co
    summary: str
    planned: bool
    cached: bool
    why: str
    seconds: float = 0.0

    def file(self, name: str) -> File:
        """Return a file of the artifact."""
        return File(self.folder / name, self.digests.get(name))

    def with_facts(self, kind: type[Facts]) -> Artifact[Facts]:
        """Return the artifact as one whose facts are of this class.

        Raises:
            TypeError: they are of another class.
        """
        if not isinstance(self.facts, kind):
            raise TypeError(f"{self.name} has no {kind.__name__}")
        return cast("Artifact[Facts]", self)

    @property
    def name(self) -> str:
        """The name of the entry, which is the same in every store."""
        return f"{self.stage}/{self.folder.name}"

    @property
    def files(self) -> dict[str, Path]:
        """The path of every file of the entry, the record among them, by name."""
        return {name: self.folder / name for name in (*self.digests, RECORD)}


def files_of(inputs: object) -> dict[str, File]:
    """Return the files of a stage's inputs, by field.

    Raises:
        TypeError: the inputs are no dataclass of files.
    """
    if not is_dataclass(inputs):
        raise TypeError(f"{type(inputs).__name__} is not a dataclass")
    found: dict[str, File] = {}
    for field in fields(inputs):
        value: object = getattr(inputs, field.name)
        if isinstance(value, File):
            found[field.name] = value
        elif value is not None:
            raise TypeError(f"{field.name} is not a file")
    return found
