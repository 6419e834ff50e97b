"""What a report holds: the layers of one engine, whoever built it, and what became of each ONNX
node.

This is the schema of ``layers.json``, in the version that ``FORMAT`` names;
``docs/layers.schema.json`` is made of it. Datatypes are called as TensorRT calls them: ``Float``,
``Half``, ``BFloat16``, ``Int8``, ``FP8`` and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtforge.errors import ForgeError

FORMAT = "trtforge-layers-2"
UNREADABLE = "unreadable"  # type of a layer whose row is of a new form
LARGEST = 256 << 20  # bytes of a file that is read: ten thousand layers take 20 MB
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]
Role = Literal["compute", "convert", "copy", "no-op", "sync"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tensor(_Part):
    """A tensor of the engine. Several layers may write one, each a part of it: that is how a concat
    vanishes.
    """

    name: str
    dims: list[int] = Field(description="-1 where the engine takes any")
    dtype: str = Field(description="TensorRT's name of it; 'unknown' if the builder did not say")
    format: str = Field(default="", description="layout in memory, in the builder's words")


class Layer(_Part):
    """A row of the builder's or the inspector's list."""

    name: str
    type: str = Field(description="in the builder's words")
    nodes: list[str] = Field(
        description="ONNX nodes that the builder says were fused into it, sorted"
    )
    inferred: list[str] = Field(
        default=[], description="ONNX nodes placed here by following tensors, sorted"
    )
    inputs: list[Tensor]
    outputs: list[Tensor]
    constants: list[Tensor]
    tactic: str = Field(default="", description="kernel")
    role: Role = Field(
        default="compute",
        description="convert changes a datatype and copy a layout or a place, and both compute nothing; "
        "sync waits for another stream",
    )
    precision: str = Field(
        default="", description="datatype of the largest input, else of the largest output"
    )
    macs: Count = Field(
        default=0,
        description="multiply-accumulates of convolutions and matrix products, whole batch",
    )
    weight_bytes: Count = Field(default=0, description="of constants")
    input_bytes: Count = Field(default=0, description="read, whole batch")
    output_bytes: Count = Field(default=0, description="written, whole batch")
    time_ms: Milliseconds | None = Field(default=None, description="measured, mean of the runs")
    floor_ms: Milliseconds | None = Field(
        default=None, description="least that the device's roofline allows"
    )
    bound: Literal["", "memory", "compute"] = Field(default="", description="what sets the floor")

    @property
    def members(self) -> list[str]:
        return [*self.nodes, *self.inferred]

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.input_bytes + self.output_bytes


class Node(_Part):
    """A node of the ONNX graph that the engine was built from."""

    name: str
    op: str
    place: Literal["layer", "folded", "unaccounted"]
    why: str = Field(default="", description="of a folded node: why nothing of it runs")
    learned: bool = Field(default=False, description="a convolution or matrix product with weights")
    quantized: bool = Field(
        default=False, description="learned, and reads INT8 or FP8 through Q/DQ"
    )
    reads_input: bool = Field(default=False, description="learned, and reads the network's input")
    macs: Count = 0


class Remark(_Part):
    """What a reader should know; ``act`` is the option or recipe line that changes it, where there
    is one.
    """

    title: str
    why: str
    act: str = ""
    layers: list[Count] = Field(default=[], description="indices into the list of layers")
    bytes: Count = Field(default=0, description="that these layers move")


class EngineInfo(_Part):
    """Which engine this is; empty or null where nothing says so."""

    backend: str = ""
    model: str = ""
    precision: str = Field(default="", description="as asked for: fp32, fp16, int8, mixed")
    device: str | None = Field(default=None, description="name in the catalogue")
    sm: int | None = None
    batch: Annotated[int, Field(ge=1)] = Field(
        default=1, description="that MACs and bytes are counted for"
    )
    size: list[Count] | None = Field(default=None, description="height and width in pixels")


class LayerReport(_Part):
    """One engine. ``figures`` are the builder's, in bytes: weight_bytes, activation_bytes,
    scratch_bytes.
    """

    format: Literal["trtforge-layers-2"] = "trtforge-layers-2"
    engine: EngineInfo = EngineInfo()
    figures: dict[str, int] = {}
    layers: list[Layer]
    nodes: list[Node] = Field(
        default=[], description="of the ONNX graph, in its order; empty if it was not given"
    )
    findings: list[Remark] = []
    unmatched_times: dict[str, Milliseconds] = Field(
        default={}, description="profiled names that are no layer's"
    )

    @property
    def time_ms(self) -> float | None:
        """Of all layers; None without a profile."""
        known = [layer.time_ms for layer in self.layers if layer.time_ms is not None]
        return sum(known) if known else None

    def count(self, place: str) -> int:
        return sum(node.place == place for node in self.nodes)

    @property
    def places(self) -> str:
        """How many nodes became what, in words."""
        return (
            f"{self.count('layer')} in layers, {self.count('folded')} folded away, "
            f"{self.count('unaccounted')} not accounted for"
        )

    @property
    def memory(self) -> list[tuple[str, int]]:
        """What the builder says of memory: name and bytes."""
        names = {
            "weight_bytes": "weights",
            "activation_bytes": "activations",
            "scratch_bytes": "largest scratch",
        }
        return [(label, self.figures[key]) for key, label in names.items() if key in self.figures]

    def by_precision(self, figure: str) -> dict[str, float]:
        """The sum of a figure of the layers (macs, bytes, time_ms, floor_ms) by precision, largest
        first.
        """
        total: Counter[str] = Counter()
        for layer in self.layers:
            if value := getattr(layer, figure):
                total[layer.precision or "none"] += value
        return dict(total.most_common())

    def layers_by_precision(self) -> dict[str, int]:
        return dict(Counter(layer.precision or "none" for layer in self.layers).most_common())


def labels(report: LayerReport) -> list[str]:
    """What each layer is for: its learned node if it computes that, else its first other one that
    is no Q/DQ.
    """
    order = {node.name: index for index, node in enumerate(report.nodes)}
    kinds = {node.name: node for node in report.nodes}

    def rank(name: str, computes: bool) -> tuple[int, int]:
        node = kinds.get(name)
        if node is None:
            return 2, 0
        pair = node.op in ("QuantizeLinear", "DequantizeLinear")
        return 0 if node.learned and computes else 3 if pair or node.learned else 1, order[name]

    return [
        min(layer.members, key=lambda name: rank(name, layer.macs > 0), default=layer.name)
        for layer in report.layers
    ]


def tensors_by_dtype(layers: Iterable[Layer]) -> dict[str, int]:
    """How often each datatype stands in the layers' inputs, constants and outputs."""
    return dict(
        Counter(
            tensor.dtype
            for layer in layers
            for tensor in (*layer.inputs, *layer.constants, *layer.outputs)
        ).most_common()
    )


def read_text(path: Path) -> str:
    """A text file that a report is read from.

    Raises:
        ForgeError: it is missing, no text, or too long to be one.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ForgeError(
                f"{path}: larger than {LARGEST >> 20} MiB, so no list of layers",
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
        ForgeError: it is missing, of another version, or not such a file.
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
    """The contents of ``layers.json``."""
    return report.model_dump_json() + "\n"
