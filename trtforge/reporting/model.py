"""Hold a report: the layers of one engine, and what became of each ONNX node.

This is the schema of ``layers.json``, in the version that ``FORMAT`` names;
``docs/layers.schema.json`` is made from it. Datatypes have TensorRT's names, whichever tool built
the engine: ``Float``, ``Half``, ``BFloat16``, ``Int8``, ``FP8`` and so on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtforge.errors import ForgeError

FORMAT = "trtforge-layers-2"
UNREADABLE = "unreadable"  # type of a layer whose row has an unknown form
LARGEST = 256 << 20  # bytes of a file that is read: ten thousand layers have 20 MB
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]
Role = Literal["compute", "convert", "copy", "no-op", "sync"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tensor(_Part):
    """A tensor of the engine.

    Several layers may write parts of one tensor: in this way a Concat needs no layer.
    """

    name: str
    dims: list[int] = Field(description="-1 where the engine takes any size")
    dtype: str = Field(description="TensorRT's name; 'unknown' if the builder does not say")
    format: str = Field(default="", description="layout in memory, as the builder calls it")


class Layer(_Part):
    """A layer of the engine: a row of the builder's or the inspector's list."""

    name: str
    type: str = Field(description="as the builder calls it")
    nodes: list[str] = Field(
        description="ONNX nodes in this layer, as the builder lists them, sorted"
    )
    inferred: list[str] = Field(
        default=[], description="ONNX nodes that were placed here by following tensors, sorted"
    )
    inputs: list[Tensor]
    outputs: list[Tensor]
    constants: list[Tensor]
    tactic: str = Field(default="", description="the kernel that runs")
    role: Role = Field(
        default="compute",
        description="convert changes the datatype, copy changes the layout or the place, and neither "
        "computes anything; no-op does nothing; sync waits for another stream",
    )
    precision: str = Field(
        default="",
        description="datatype of the largest input, or of the largest output without any input",
    )
    macs: Count = Field(
        default=0,
        description="multiply-accumulates of convolutions and matrix products, for the whole batch",
    )
    weight_bytes: Count = Field(default=0, description="bytes of the constants")
    input_bytes: Count = Field(default=0, description="bytes read, for the whole batch")
    output_bytes: Count = Field(default=0, description="bytes written, for the whole batch")
    time_ms: Milliseconds | None = Field(
        default=None, description="measured time, mean of the runs"
    )
    floor_ms: Milliseconds | None = Field(
        default=None, description="least time that the device's roofline allows"
    )
    bound: Literal["", "memory", "compute"] = Field(default="", description="what limits the floor")

    @property
    def members(self) -> list[str]:
        """The ONNX nodes in this layer, listed by the builder or placed by following tensors."""
        return [*self.nodes, *self.inferred]

    @property
    def bytes(self) -> int:
        """The bytes that the layer reads and writes."""
        return self.weight_bytes + self.input_bytes + self.output_bytes


class Node(_Part):
    """A node of the ONNX graph that the engine was built from."""

    name: str
    op: str
    place: Literal["layer", "folded", "unaccounted"]
    why: str = Field(default="", description="for a folded node: why nothing of it runs")
    learned: bool = Field(default=False, description="a convolution or matrix product with weights")
    quantized: bool = Field(
        default=False, description="learned, and its input comes through Q/DQ as INT8 or FP8"
    )
    reads_input: bool = Field(
        default=False, description="learned, and its input is the network's input"
    )
    macs: Count = 0


class Remark(_Part):
    """Something that stands out in an engine.

    Attributes:
        title: what stands out.
        why: the reason.
        act: the option or the line of a recipe that changes it; empty where there is none.
    """

    title: str
    why: str
    act: str = ""
    layers: list[Count] = Field(default=[], description="indices into the list of layers")
    bytes: Count = Field(default=0, description="bytes that these layers move")


class EngineInfo(_Part):
    """Identity of an engine; unknown fields are empty or null."""

    backend: str = ""
    model: str = ""
    precision: str = Field(
        default="", description="the precision that was requested: fp32, fp16, int8, mixed"
    )
    device: str | None = Field(default=None, description="name in the catalogue")
    sm: int | None = None
    batch: Annotated[int, Field(ge=1)] = Field(
        default=1, description="batch size for which MACs and bytes are counted"
    )
    size: list[Count] | None = Field(default=None, description="height and width in pixels")


class LayerReport(_Part):
    """The report on one engine.

    Attributes:
        figures: the builder's figures in bytes: weight_bytes, activation_bytes, scratch_bytes.
        findings: what stands out.
    """

    format: Literal["trtforge-layers-2"] = "trtforge-layers-2"
    engine: EngineInfo = EngineInfo()
    figures: dict[str, int] = {}
    layers: list[Layer]
    nodes: list[Node] = Field(
        default=[],
        description="nodes of the ONNX graph, in its order; empty if the graph is not known",
    )
    findings: list[Remark] = []
    unmatched_times: dict[str, Milliseconds] = Field(
        default={}, description="times of profiled names that belong to no layer"
    )

    @property
    def time_ms(self) -> float | None:
        """Time of all layers; None without a profile."""
        known = [layer.time_ms for layer in self.layers if layer.time_ms is not None]
        return sum(known) if known else None

    def count(self, place: str) -> int:
        """Return how many nodes have this place."""
        return sum(node.place == place for node in self.nodes)

    @property
    def places(self) -> str:
        """Count the nodes by what became of them, as a phrase."""
        return (
            f"{self.count('layer')} in layers, {self.count('folded')} folded away, "
            f"{self.count('unaccounted')} not accounted for"
        )

    @property
    def memory(self) -> list[tuple[str, int]]:
        """The builder's figures for memory: name and bytes."""
        names = {
            "weight_bytes": "weights",
            "activation_bytes": "activations",
            "scratch_bytes": "largest scratch",
        }
        return [(label, self.figures[key]) for key, label in names.items() if key in self.figures]

    def by_precision(
        self, figure: Literal["macs", "bytes", "time_ms", "floor_ms"]
    ) -> dict[str, float]:
        """Return the sum of a figure of the layers by precision, largest first.

        Args:
            figure: macs, bytes, time_ms or floor_ms.
        """
        total: defaultdict[str, float] = defaultdict(int)  # counts of MACs and bytes stay integers
        for layer in self.layers:
            value: float | None = getattr(layer, figure)
            if value:
                total[layer.precision or "none"] += value
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def layers_by_precision(self) -> dict[str, int]:
        """Return the number of layers by precision, largest first."""
        return dict(Counter(layer.precision or "none" for layer in self.layers).most_common())


def unreadable_layer(row: str) -> Layer:
    """Return the layer that stands for a row of an unknown form."""
    return Layer(name=row[:200], type=UNREADABLE, nodes=[], inputs=[], outputs=[], constants=[])


def labels(report: LayerReport) -> list[str]:
    """Return a name for each layer: the name of the node that says best what the layer does.

    It is a learned node if the layer computes one; else the first other node that is not Q/DQ.
    Where a layer has no nodes, its own name is taken.
    """
    nodes = {node.name: (index, node) for index, node in enumerate(report.nodes)}

    def rank(name: str, computes: bool) -> tuple[int, int]:
        if name not in nodes:
            return 2, 0
        index, node = nodes[name]
        if node.learned and computes:
            return 0, index
        if node.learned or node.op in ("QuantizeLinear", "DequantizeLinear"):
            return 3, index
        return 1, index

    return [
        min(layer.members, key=lambda name: rank(name, layer.macs > 0), default=layer.name)
        for layer in report.layers
    ]


def tensors_by_dtype(layers: Iterable[Layer]) -> dict[str, int]:
    """Return how often each datatype occurs in the layers' inputs, constants and outputs."""
    counts: Counter[str] = Counter()
    for layer in layers:
        tensors = (*layer.inputs, *layer.constants, *layer.outputs)
        counts.update(tensor.dtype for tensor in tensors)
    return dict(counts.most_common())


def read_text(path: Path) -> str:
    """Read a text file from which a report is made.

    Raises:
        ForgeError: the file is missing, is not text, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ForgeError(
                f"{path}: larger than {LARGEST >> 20} MiB, so not a list of layers",
                "give another file",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ForgeError(
            f"{path}: no such file", "give a bundle, an engine, an ONNX model or layers.json"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ForgeError(
            f"{path}: can't be read as text", "give layers.json, or what trtexec wrote"
        ) from error


def load(path: Path) -> LayerReport:
    """Read ``layers.json``.

    Raises:
        ForgeError: the file is missing, has another version, or is not such a file.
    """
    try:
        return LayerReport.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ForgeError(
            f"{path}: not a list of layers of this version ({FORMAT}): {where}: {first['msg']}",
            "make it again with `trtforge build` or `trtforge report`",
        ) from error


def to_json(report: LayerReport) -> str:
    """Return the contents of ``layers.json``."""
    return report.model_dump_json() + "\n"
