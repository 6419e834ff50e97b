"""Fill in what a recipe leaves open, from what the file says of itself and what its graph shows.

The recipe and the options always stand above both. What belongs together is filled in together: a
recipe with a scale has decided about means and deviations, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trtforge.metadata.records import Metadata, Normalization
from trtforge.recipe import Nms, Preprocess

FROM_RECIPE = "the recipe"
NORMALIZATION = ("scale", "offsets", "std")
PLACEMENT = ("letterbox", "padding")
# What the backbones were trained with that cut the image into patches: 255 times mean and deviation.
IMAGENET = Normalization(1 / 255, (123.675, 116.28, 103.53), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Completed:
    """Preprocessing, and where its parts come from.

    Attributes:
        origins: in words, by the part: size, normalization, color, letterbox. A part that is
            missing has its default.
    """

    preprocess: Preprocess = field(default_factory=Preprocess)
    origins: Mapping[str, str] = field(default_factory=dict)


def complete(
    preprocess: Preprocess, stated: Metadata, form: str | None, patches: int | None
) -> Completed:
    """Return a recipe's preprocessing, filled in from all that is known; see ``by_structure``."""
    return by_structure(by_metadata(from_recipe(preprocess), stated), form, patches)


def complete_nms(nms: Nms, stated: Metadata) -> Nms:
    """Return a recipe's thresholds, with what the file says where the recipe says nothing."""
    return nms.with_defaults({"best_class": stated.best_class.value}) if stated.best_class else nms


def from_recipe(preprocess: Preprocess) -> Completed:
    """Return what the recipe itself says."""
    origins: dict[str, str] = {}
    parts = {"normalization": NORMALIZATION, "letterbox": PLACEMENT, "size": ("size",)}
    for part, keys in (parts | {"color": ("color",)}).items():
        if preprocess.model_fields_set & set(keys) and (part != "size" or preprocess.size):
            origins[part] = FROM_RECIPE
    return Completed(preprocess, origins)


def by_metadata(completed: Completed, stated: Metadata) -> Completed:
    """Return the preprocessing with what the file says where nothing else did."""
    if stated.size:
        completed = _with(completed, "size", {"size": stated.size.value}, stated.size.origin)
    if stated.normalization:
        changes = _steps(stated.normalization.value)
        completed = _with(completed, "normalization", changes, stated.normalization.origin)
    if stated.color:
        completed = _with(completed, "color", {"color": stated.color.value}, stated.color.origin)
    if stated.letterbox:
        changes = {"letterbox": stated.letterbox.value}
        completed = _with(completed, "letterbox", changes, stated.letterbox.origin)
    return completed


def by_structure(completed: Completed, form: str | None, patches: int | None) -> Completed:
    """Return the preprocessing with what detectors of a structure are known to take.

    Args:
        form: of the detector's outputs; None where there is none.
        patches: side in pixels of the patches that the first convolution cuts the image into; None
            where it is another kind of network, or the graph normalises the image itself.
    """
    if form != "queries":
        return completed
    completed = _with(
        completed,
        "letterbox",
        {"letterbox": "none"},
        "detectors by queries are trained on stretched pictures",
    )
    if patches is None:
        return completed
    origin = f"by default for transformers, which cut the image into patches of {patches} pixels"
    return _with(completed, "normalization", _steps(IMAGENET), origin)


def _with(completed: Completed, part: str, changes: Mapping[str, object], origin: str) -> Completed:
    if part in completed.origins:
        return completed
    return replace(
        completed,
        preprocess=completed.preprocess.model_copy(update=dict(changes)),
        origins={**completed.origins, part: origin},
    )


def _steps(found: Normalization) -> dict[str, object]:
    return {"scale": found.scale, "offsets": found.offsets, "std": found.std}


def remarks(completed: Completed) -> list[str]:
    """Return a line for each part but the size that the file or its graph said."""
    found = describe(completed)
    parts = [part for part, origin in completed.origins.items() if origin != FROM_RECIPE]
    return [f"{part}: {found[part]}" for part in parts if part != "size"]


def describe(completed: Completed) -> dict[str, str]:
    """Return each part that has no default, with its value and where it is from, in words."""
    spec = completed.preprocess
    steps = f"{spec.scale:.6g} * pixel"
    if any(spec.offsets):
        steps = f"{spec.scale:.6g} * (pixel - {', '.join(f'{value:g}' for value in spec.offsets)})"
    if spec.std:
        steps += f" / {', '.join(f'{value:g}' for value in spec.std)}"
    shown = {
        "size": "x".join(map(str, spec.size or ())),
        "normalization": steps,
        "color": spec.color.upper(),
        "letterbox": "stretched" if spec.letterbox == "none" else f"{spec.letterbox} bars",
    }
    return {part: f"{shown[part]} ({origin})" for part, origin in completed.origins.items()}
