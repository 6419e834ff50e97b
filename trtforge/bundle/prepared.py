"""A prepared model: all files and facts that an engine is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtforge.bundle.facts import FoldFacts, PatchFacts
from trtforge.bundle.manifest import Sources
from trtforge.devices import Device
from trtforge.names import Backend, Precision
from trtforge.recipe import Recipe
from trtforge.store import File
from trtforge.traits import TRAITS

IMPLICIT_SUFFIX = ".fp32.onnx"  # the one graph of a folder for implicit INT8 or FP16


@dataclass(frozen=True)
class Target:
    """The target of one output folder.

    Attributes:
        backend: builds the engine; None prepares graphs for all backends, without an engine.
        device: the device that the engine runs on; None is the CPU of this machine, or, for a
            prepared folder, any device.
    """

    backend: Backend | None
    device: Device | None


@dataclass(frozen=True)
class Form:
    """A graph on the way from the user's model to the one that is built.

    Attributes:
        stage: the stage that made it; empty for the user's model.
    """

    stage: str
    model: File


@dataclass(frozen=True)
class Prepared:
    """A model with everything done that needs no GPU.

    Attributes:
        name: name of the model; file names begin with it.
        precision, batch, recipe: as the user gave them, with defaults filled in.
        facts: what folding found out about the model.
        sources: the user's files, for the manifest.
        graphs: the patched graph of each backend.
        patches: what patching each of these graphs changed.
        table: calibration table, for INT8 and FP8.
        deepstream: the version that a prepared folder was made for.
        remarks: what the user should know about the calibration.
        implicit: the graph is FP32, and the builder chooses the precisions (see ``Job``).
        images: folder that TensorRT itself calibrates on; None otherwise.
        origins: where parts of the recipe are from, in words (see ``Manifest``).
        forms: the graphs that each backend's graph was made from, the user's model first; empty for
            a folder that is read back.
    """

    name: str
    precision: Precision
    batch: tuple[int, int, int]
    recipe: Recipe
    facts: FoldFacts
    sources: Sources
    graphs: Mapping[Backend, File]
    patches: Mapping[Backend, PatchFacts]
    table: File | None = None
    deepstream: str | None = None
    remarks: tuple[str, ...] = ()
    implicit: bool = False
    images: File | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[Backend, tuple[Form, ...]] = field(default_factory=dict)

    @property
    def built_precision(self) -> str:
        """The precision of the graphs; "mixed" if the user's model already had Q/DQ or FP16."""
        return "mixed" if self.precision == "fp32" and self.facts.typed else self.precision

    def file_name(self, backend: Backend) -> str:
        """Return the name of a backend's graph in the output folder."""
        suffix = IMPLICIT_SUFFIX if self.implicit else TRAITS[backend].graph_suffix
        return f"{self.name}{suffix}"
