"""Read a fleet: models, precisions and devices in a YAML file that is checked as a whole.

Its texts become part of shell commands and workflow files. Names consist of lower-case words and
hyphens. Other texts must not contain marks that a shell or a CI service would interpret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trtforge import devices, documents, recipe
from trtforge.errors import ForgeError
from trtforge.names import QUANTIZED, Backend, Precision
from trtforge.options import values
from trtforge.patches import Section
from trtforge.traits import ONNXRUNTIME

HOSTED = "hosted"
CPU = "cpu"
LABEL = "[A-Za-z0-9][A-Za-z0-9._-]*"
PLAIN = r"""[^$`\\'"{};&|*?#\x00-\x1f\x7f-\x9f\u2028\u2029]+"""


def _word(text: str) -> str:
    if not re.fullmatch(PLAIN, text):
        raise ValueError(f"{text!r} has a mark that a shell or a CI service would interpret")
    return text


def inside(path: Path) -> Path:
    """Return a path relative to the working folder, which is the root of the checkout in CI.

    Raises:
        ValueError: the path does not exist, is outside the folder, or looks like an option.
    """
    absolute, root = path.resolve(), Path.cwd().resolve()
    if not absolute.is_relative_to(root):
        raise ValueError(f"{path} is not under {root}: run from the root of what CI checks out")
    if not absolute.exists():
        raise ValueError(f"there is no {path}")
    shown = absolute.relative_to(root)
    if str(shown).startswith("-"):
        raise ValueError(f"{shown} would be taken for an option")
    _word(str(shown))
    return shown


def _beside(path: Path, info: ValidationInfo) -> Path:
    """Return a path that is relative to the fleet's file; the context is the file's folder."""
    return inside(Path(str(info.context)) / path)


def _recipe(name: str, info: ValidationInfo) -> str:
    return name if name in recipe.names() else os.fspath(_beside(Path(name), info))


def _parsed(parse: Callable[[str], object]) -> AfterValidator:
    """Return a validator that accepts the texts that the command line accepts."""

    def check(text: str) -> str:
        try:
            parse(text)
        except ForgeError as error:
            raise ValueError(error.problem) from error
        return text

    return AfterValidator(check)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _text(value: object) -> object:
    return str(value) if type(value) is int else value


def _batch(value: object) -> object:
    if isinstance(value, int) and value >= 3600:
        raise ValueError("YAML reads 1:8:16 as a number of seconds: put MIN:OPT:MAX in quotes")
    return _text(value)


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Label = Annotated[str, Field(pattern=f"^{LABEL}$", max_length=128)]
Branch = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)]
Word = Annotated[str, AfterValidator(_word)]
Inside = Annotated[Path, AfterValidator(_beside)]
RecipeName = Annotated[str, AfterValidator(_recipe)]
Batch = Annotated[str, BeforeValidator(_batch), _parsed(values.parse_batch)]
Size = Annotated[str, _parsed(values.parse_size)]
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_word), _parsed(values.parse_memory)]
Version = Annotated[str, _parsed(values.parse_version)]
Time = Annotated[str, _parsed(values.parse_seconds)]
Precisions = Annotated[tuple[Precision, ...], Field(min_length=1)]


class Verify(Section):
    """The measurement of the accuracy, and its limits.

    Attributes:
        images, labels: arguments of ``trtforge verify``.
        max_drop: points that the engine may lose compared with the original model.
        min_map: smallest mAP50-95 (top-1, mIoU), 0 to 1.
    """

    images: Inside
    labels: Inside
    max_drop: float | None = Field(default=None, ge=0, le=100)
    min_map: float | None = Field(default=None, ge=0, le=1)


class Model(Section):
    """A model of the fleet.

    Attributes:
        model: ONNX file, or a recipe that names one.
        recipe: name or file of a recipe.
        labels: file with one class a line.
        calib: folder of calibration images for INT8 and FP8.
        size: height and width of a dynamic input, HxW.
        precisions: replaces the fleet's list.
        max_latency: limit of the median latency, such as 8ms, by the device's name in the fleet.
    """

    model: Inside
    recipe: RecipeName | None = None
    labels: Inside | None = None
    calib: Inside | None = None
    size: Size | None = None
    precisions: Precisions | None = None
    verify: Verify | None = None
    max_latency: dict[Name, Time] = Field(default_factory=dict)

    @property
    def own_recipe(self) -> bool:
        """True if ``model`` is a recipe, which names the ONNX file."""
        return self.model.suffix.lower() in (".yaml", ".yml")

    @property
    def onnx(self) -> Path:
        """The ONNX file.

        Raises:
            ValueError: the file is not inside the checkout.
            ForgeError: the recipe is wrong.
        """
        if not self.own_recipe:
            return self.model
        named = recipe.load(self.model).model
        if named is None:
            raise ValueError(f"{self.model} names no model")
        return inside(named)

    @model_validator(mode="after")
    def _one_recipe(self) -> Model:
        if self.own_recipe and self.recipe:
            raise ValueError(f"{self.model} is a recipe already: drop recipe")
        try:
            _ = self.onnx
        except ForgeError as error:
            raise ValueError(error.problem) from error
        return self


class Place(Section):
    """A device of the fleet, and how to build engines for it.

    Attributes:
        device: name in the catalogue, by default the name of the entry. ``cpu`` stands for ONNX
            Runtime on the runner.
        runs_on: label or labels of the runner with the device, by default the catalogue's label.
            ``hosted`` is a runner of the CI service. It has no GPU: TensorRT-RTX builds ahead of
            time, and nothing is timed.
        backend: backend, as in ``trtforge build``.
        batch: batch size, N or MIN:OPT:MAX.
        workspace: workspace limit of the builder.
        deepstream: DeepStream version that reads the configuration.
        dla: DLA core to build for.
    """

    device: Name | None = None
    runs_on: Annotated[tuple[Label, ...], BeforeValidator(_listed), Field(min_length=1)] | None = (
        None
    )
    backend: Literal["auto"] | Backend = "auto"
    batch: Batch | None = None
    workspace: Memory | None = None
    deepstream: Version | None = None
    dla: int | None = Field(default=None, ge=0, le=15)

    @field_validator("runs_on")
    @classmethod
    def _hosted_alone(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels and HOSTED in labels and len(labels) > 1:
            raise ValueError(f"{HOSTED} can't be combined with other labels")
        return labels


class Fleet(Section):
    """Models times devices times precisions.

    Attributes:
        name: name of the workflow.
        precisions: precisions of the models that list none.
        install: packages that pip installs on hosted runners; your own runners have trtforge
            beside their TensorRT already.
        branches: branches whose pushes start the workflow.
        minutes: time limit of a job.
    """

    name: Name = "engines"
    precisions: Precisions = ("fp16",)
    models: dict[Name, Model] = Field(min_length=1)
    devices: dict[Name, Place] = Field(min_length=1)
    install: Annotated[tuple[Word, ...], Field(min_length=1)] = ("trtforge[rtx]",)
    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = ("main",)
    minutes: int = Field(default=60, ge=1, le=1440)

    @model_validator(mode="after")
    def _whole(self) -> Fleet:
        faults = [
            f"devices.{name}: {why}"
            for name, place in self.devices.items()
            if (why := _unknown(name, place))
        ]
        for name, model in self.models.items():
            quantized = [each for each in self.precisions_of(model) if each in QUANTIZED]
            if quantized and not model.calib and not model.own_recipe:
                faults.append(
                    f"models.{name}: {quantized[0]} needs photographs: name them with calib"
                )
            faults += [
                f"models.{name}.max_latency: the fleet has no device {each}"
                for each in model.max_latency
                if each not in self.devices
            ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def precisions_of(self, model: Model) -> tuple[Precision, ...]:
        """Return the precisions of a model, each once, in the order of the file."""
        return tuple(dict.fromkeys(model.precisions or self.precisions))


def _unknown(name: str, place: Place) -> str:
    """Return why a device is not known; empty if it is, or if none is needed."""
    if device_name(name, place) is None:
        return (
            ""
            if place.backend in ("auto", ONNXRUNTIME)
            else f"{place.backend} does not build for a cpu"
        )
    try:
        devices.device(place.device or name)
    except ForgeError as error:
        return f"{error.problem} ({error.hint})"
    return ""


def device_name(name: str, place: Place) -> str | None:
    """Return the name of a device in the catalogue; None for the CPU of the runner."""
    wanted = place.device or name
    return None if wanted == CPU else wanted


def load(path: Path) -> Fleet:
    """Read and check a fleet.

    Paths in the file are relative to the file; paths in the result, to the working folder.

    Raises:
        ForgeError: the file is not YAML, or breaks the schema; the message lists every error with
            its line.
    """
    return documents.read_yaml(
        path, Fleet, "fleet", "see recipes/demo/fleet.yaml of trtforge's own", path.parent
    )
