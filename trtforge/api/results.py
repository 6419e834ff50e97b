"""Results of the Python API that no other module has a type for, and their JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from trtforge.pipeline import Built
    from trtforge.store import Store

Facts = Mapping[str, object]


class StageJson(TypedDict):
    """A stage that ran, or came out of the store."""

    stage: str
    cached: bool
    why: str
    seconds: float
    facts: Facts


class OutputJson(TypedDict):
    """A folder that was written."""

    folder: str
    backend: str | None
    device: str | None
    written: bool
    engine: Facts | None
    remarks: list[str]


class BuildJson(TypedDict):
    """The document that ``trtforge build --json`` and ``prepare --json`` print."""

    stages: list[StageJson]
    outputs: list[OutputJson]


@dataclass(frozen=True)
class StageRun:
    """A stage that ran, or came out of the store.

    Attributes:
        stage: its name.
        cached: whether the result was in the store.
        why: why it ran.
        seconds: how long it took, when it ran.
        facts: what it found out.
        summary: the facts in a line.
    """

    stage: str
    cached: bool
    why: str
    seconds: float
    facts: Facts
    summary: str


@dataclass(frozen=True)
class Output:
    """A folder for one target.

    Attributes:
        folder: where it is.
        backend: what built the engine; None for a prepared folder.
        device: name of the device; None is the CPU of this machine, or any device.
        written: whether anything in it had to be written.
        engine: what building the engine found out; None for a prepared folder.
        remarks: what the user should know.
    """

    folder: Path
    backend: str | None
    device: str | None
    written: bool
    engine: Facts | None
    remarks: list[str]


@dataclass(frozen=True)
class BuildResult:
    """What ``build`` or ``prepare`` did.

    Attributes:
        stages: in the order in which they ran.
        outputs: a folder for each target; none with ``dry_run``.
        dry_run: whether it was only planned.
    """

    stages: list[StageRun]
    outputs: list[Output]
    dry_run: bool

    def document(self) -> BuildJson:
        """Return the JSON document."""
        stages: list[StageJson] = [
            {
                "stage": run.stage,
                "cached": run.cached,
                "why": run.why,
                "seconds": round(run.seconds, 3),
                "facts": run.facts,
            }
            for run in self.stages
        ]
        outputs: list[OutputJson] = [
            {
                "folder": str(output.folder),
                "backend": output.backend,
                "device": output.device,
                "written": output.written,
                "engine": output.engine,
                "remarks": output.remarks,
            }
            for output in self.outputs
        ]
        return {"stages": stages, "outputs": outputs}


@dataclass(frozen=True)
class FileResult:
    """A file that one stage wrote.

    Attributes:
        out: the file.
        facts: what the stage found out; what ``--json`` prints.
        summary: the facts for people.
        remarks: what the user should know.
    """

    out: Path
    facts: Facts
    summary: str
    remarks: Sequence[str] = ()

    def document(self) -> Facts:
        """Return the JSON document."""
        return self.facts


def build_result(store: Store, built: Sequence[Built]) -> BuildResult:
    """Return the result of a build from what ran and what was delivered."""
    stages = [
        StageRun(
            stage=run.stage.name,
            cached=run.cached,
            why=run.why,
            seconds=run.seconds,
            facts=run.facts,
            summary="" if store.planning else run.stage.say(run.facts),
        )
        for run in store.ran
    ]
    outputs = [
        Output(
            folder=each.out,
            backend=each.target.backend,
            device=each.target.device.name if each.target.device else None,
            written=each.wrote,
            engine=each.engine.facts if each.engine else None,
            remarks=each.remarks,
        )
        for each in built
    ]
    return BuildResult(stages, outputs, store.planning)
