"""Results of the Python API that no other module has a type for, and their JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from trtforge.bundle.facts import EngineCheck
    from trtforge.pipeline import Built
    from trtforge.reducing import Reduced
    from trtforge.reporting.model import LayerReport
    from trtforge.stages.build import BuildFacts
    from trtforge.store import Store
    from trtforge.sweeping.rows import Swept
    from trtforge.tuning import Tuned

Facts = TypeVar("Facts")


class StageJson(TypedDict):
    """A stage that ran, or came out of the store."""

    stage: str
    cached: bool
    why: str
    seconds: float
    facts: Mapping[str, object]


class OutputJson(TypedDict):
    """A folder that was written."""

    folder: str
    backend: str | None
    device: str | None
    written: bool
    engine: Mapping[str, object] | None
    check: Mapping[str, object] | None
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
        facts: what it found out; None while that is only planned.
        summary: the facts in a line.
    """

    stage: str
    cached: bool
    why: str
    seconds: float
    facts: object | None
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
        check: the engine beside FP32 on a few images; None where it was not run.
        remarks: what the user should know.
    """

    folder: Path
    backend: str | None
    device: str | None
    written: bool
    engine: BuildFacts | None
    check: EngineCheck | None
    remarks: list[str]


@dataclass(frozen=True)
class BuildResult:
    """The result of ``build`` or ``prepare``.

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
        from trtforge.store import to_json

        stages: list[StageJson] = [
            {
                "stage": run.stage,
                "cached": run.cached,
                "why": run.why,
                "seconds": round(run.seconds, 3),
                "facts": {} if run.facts is None else to_json(run.facts),
            }
            for run in self.stages
        ]
        outputs: list[OutputJson] = [
            {
                "folder": str(output.folder),
                "backend": output.backend,
                "device": output.device,
                "written": output.written,
                "engine": to_json(output.engine) if output.engine else None,
                "check": to_json(output.check) if output.check else None,
                "remarks": output.remarks,
            }
            for output in self.outputs
        ]
        return {"stages": stages, "outputs": outputs}


@dataclass(frozen=True)
class FileResult(Generic[Facts]):
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

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        from trtforge.store import to_json

        return to_json(self.facts)


def build_result(store: Store, built: Sequence[Built]) -> BuildResult:
    """Return the result of a build from what ran and what was delivered."""
    stages = [
        StageRun(
            stage=run.stage,
            cached=run.cached,
            why=run.why,
            seconds=run.seconds,
            facts=None if run.planned else run.facts,
            summary=run.summary,
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
            check=each.check,
            remarks=each.remarks,
        )
        for each in built
    ]
    return BuildResult(stages, outputs, store.planning)


@dataclass(frozen=True)
class SweepResult:
    """The engines of a sweep.

    Attributes:
        swept: the rows, one for each engine; what ``--json`` prints.
        files: what was written.
    """

    swept: Swept
    files: list[Path]

    def document(self) -> object:
        """Return the JSON document."""
        return asdict(self.swept)


@dataclass(frozen=True)
class TuneResult:
    """The choice of operators that stay float.

    Attributes:
        tuned: the choice, and what was measured.
        max_drop: the budget in points.
        recipe: the recipe for ``build``.
        picture: accuracy against the share of INT8, for all that was measured.
    """

    tuned: Tuned
    max_drop: float
    recipe: Path
    picture: Path

    def document(self) -> object:
        """Return the JSON document."""
        return {**asdict(self.tuned), "picture": str(self.picture)}


@dataclass(frozen=True)
class ReportResult:
    """The layers of an engine.

    Attributes:
        layers: the report; what ``--json`` prints.
        title: a title for it.
        out: folder that it was written to, if any.
    """

    layers: LayerReport
    title: str
    out: Path | None

    def document(self) -> object:
        """Return the JSON document, see docs/layers.schema.json."""
        return self.layers.model_dump(mode="json")

    def markdown(self) -> str:
        """Return the report as Markdown, for a pull request."""
        from trtforge.reporting.markdown import markdown

        return markdown(self.layers, self.title)


class NodeJson(TypedDict):
    """A node of a graph: its name and its operator."""

    name: str
    operator: str


class ReduceJson(TypedDict):
    """The document that ``trtforge reduce --json`` prints."""

    out: str
    inputs: str | None
    backend: str
    fault: str
    message: str
    nodes_before: int
    nodes: list[NodeJson]
    checks: int
    complete: bool


@dataclass(frozen=True)
class ReduceResult:
    """The smallest part of a model that fails as the whole does.

    Attributes:
        out: the part, an ONNX file.
        inputs: its inputs in Polygraphy's JSON; None if engines were not run.
        backend: what builds it.
        fault: "refused", "crashed", "failed" (the engine does not run), "not finite" or "differs".
        message: first line of the builder's message, or the figures of the worst output.
        nodes_before: number of nodes of the whole model.
        nodes: name and operator of each node of the part.
        checks: number of graphs that were tried.
        complete: no node can be left out; False: the time ended before that was known.
    """

    out: Path
    inputs: Path | None
    backend: str
    fault: str
    message: str
    nodes_before: int
    nodes: list[NodeJson]
    checks: int
    complete: bool

    def document(self) -> ReduceJson:
        """Return the JSON document."""
        return {
            "out": str(self.out),
            "inputs": str(self.inputs) if self.inputs else None,
            "backend": self.backend,
            "fault": self.fault,
            "message": self.message,
            "nodes_before": self.nodes_before,
            "nodes": self.nodes,
            "checks": self.checks,
            "complete": self.complete,
        }


def reduce_result(reduced: Reduced, out: Path, inputs: Path | None, backend: str) -> ReduceResult:
    """Return the result of a reduction that was written to ``out`` and ``inputs``."""
    return ReduceResult(
        out=out,
        inputs=inputs,
        backend=backend,
        fault=reduced.failure.kind,
        message=reduced.failure.text,
        nodes_before=reduced.nodes_before,
        nodes=[
            {"name": node.name, "operator": node.op_type} for node in reduced.part.model.graph.node
        ],
        checks=reduced.checks,
        complete=reduced.complete,
    )
