"""The manifest of an output folder: everything that decided its contents.

``docs/manifest.schema.json`` publishes its JSON schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trtforge.bundle.facts import BuildFacts, EngineCheck, FoldFacts, PatchFacts
from trtforge.bundle.folder import FileEntry
from trtforge.names import Backend, Precision
from trtforge.recipe import Recipe
from trtforge.store.codec import OMIT_NONE
from trtforge.version import __version__

VERSION = r"^\d{1,2}\.\d{1,2}(\.\d{1,2})?$"  # of DeepStream
Count = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class ModelSource:
    """The user's model: name and sha256 of the file."""

    name: str
    sha256: str | None


@dataclass(frozen=True)
class ImageSource:
    """The user's calibration images: their number, and a sha256 over names and contents."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Sources:
    """The files that the user gave."""

    model: ModelSource | None = field(default=None, metadata=OMIT_NONE)
    images: ImageSource | None = field(default=None, metadata=OMIT_NONE)


@dataclass(frozen=True)
class TargetEntry:
    """The target of the folder.

    Attributes:
        backend: the backend that built the engine; None for a prepared folder.
        device: name of the device; None is the CPU, or, for a prepared folder, any device.
        sm: compute capability of the device.
    """

    backend: Backend | None = None
    device: str | None = None
    sm: int | None = None


class Manifest(BaseModel):
    """Everything that decided the contents of an output folder.

    Nothing in it differs between two equal runs: no times, no paths.

    Attributes:
        format: version of this format.
        trtforge: version of trtforge.
        model: name of the model, which files are called after.
        implicit: the graph is FP32, and the builder chooses the precisions.
        batch: smallest, best and largest batch.
        deepstream: the version that the configuration is for.
        inputs: what the user gave.
        recipe: the recipe with what was filled in.
        origins: where size, normalization, color, letterbox and labels are from, in words; a part
            that is missing has its default.
        facts: what folding found out about the model.
        graphs: the backends whose graphs are in the folder.
        patches: what patching changed, by backend.
        engine: what is known of the engine; None for a prepared folder.
        check: the engine beside FP32 on a few images; None where it was not run.
        tools: versions of the distributions that decide the results.
        files: every other file of the folder, by name.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    format: Literal["trtforge-bundle-1"] = "trtforge-bundle-1"
    trtforge: str = __version__
    model: str
    precision: Precision
    implicit: bool = Field(default=False, validation_alias="weak", serialization_alias="weak")
    batch: tuple[Count, Count, Count]
    target: TargetEntry = TargetEntry()
    deepstream: Annotated[str, Field(pattern=VERSION)] | None = None
    inputs: Sources
    recipe: Recipe
    origins: Mapping[str, str] = Field(default_factory=dict)
    facts: FoldFacts
    graphs: Annotated[tuple[Backend, ...], Field(min_length=1)]
    patches: Mapping[Backend, PatchFacts]
    engine: BuildFacts | None = None
    check: EngineCheck | None = None
    tools: Mapping[str, str] = Field(default_factory=dict)
    files: Mapping[str, FileEntry] = Field(default_factory=dict)
