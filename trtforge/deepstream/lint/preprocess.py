"""net-scale-factor * (pixel - offset), and where the picture lies."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trtforge.deepstream.config.nvinfer import LETTERBOX
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

_IMAGENET = (123.675, 116.28, 103.53)  # means of R, G and B in 0..255
_COLORS = {0: "rgb", 1: "bgr", 2: "grey"}


def _channels(subject: Subject) -> int | None:
    dims = subject.get("infer-dims")
    if isinstance(dims, tuple) and len(dims) == 3:
        return dims[0] if dims[0] in (1, 3, 4) else None
    found = subject.graph.image[0] if subject.graph and subject.graph.image else None
    return found if isinstance(found, int) else None


def offsets(subject: Subject) -> Iterator[Finding]:
    given, channels = subject.get("offsets"), _channels(subject)
    if not given:
        return
    if channels and len(given) != channels:
        yield subject.on(
            "offsets-count",
            "offsets",
            f"{len(given)} offsets for {channels} channels: nvinfer does not start",
        )
    if any(given) and all(0 <= each <= 1 for each in given):
        yield subject.on(
            "offsets-unit",
            "offsets",
            "offsets from 0 to 1 are subtracted from pixels in 0..255, and do nothing",
            tuple(float(f"{each * 255:.6g}") for each in given),
        )
    turned = tuple(reversed(_IMAGENET)) if subject.get("model-color-format") == 0 else _IMAGENET
    close = len(given) == 3 and all(
        abs(one - other) < 1 for one, other in zip(given, turned, strict=True)
    )
    if close and subject.get("model-color-format") in (0, 1):
        order = _COLORS[subject.get("model-color-format")].upper()
        yield subject.on(
            "offsets-order",
            "offsets",
            f"ImageNet's means, but the network's order is {order}",
            tuple(reversed(given)),
        )


def scale(subject: Subject) -> Iterator[Finding]:
    if subject.entry("net-scale-factor") and not subject.get("net-scale-factor") > 0:
        yield subject.on(
            "scale-sign", "net-scale-factor", "not over 0: nvinfer then skips the offsets too"
        )


def color(subject: Subject) -> Iterator[Finding]:
    channels, form = _channels(subject), subject.get("model-color-format")
    if channels in (1, 3) and form in _COLORS and (form == 2) != (channels == 1):
        yield subject.on(
            "color-channels",
            "model-color-format",
            f"{_COLORS[form].upper()} does not go with {channels} channels: nvinfer does not start",
            2 if channels == 1 else 0,
        )


def padding(subject: Subject) -> Iterator[Finding]:
    if subject.get("symmetric-padding") and not subject.get("maintain-aspect-ratio"):
        yield subject.on(
            "padding",
            "symmetric-padding",
            "frames are stretched without maintain-aspect-ratio, so nothing is padded",
        )


def training(subject: Subject) -> Iterator[Finding]:
    """Against the recipe that the model was calibrated with."""
    recipe = subject.recipe.preprocess if subject.recipe else None
    if recipe is None or subject.get("input-tensor-from-meta"):
        return
    if not math.isclose(subject.get("net-scale-factor"), recipe.scale, rel_tol=1e-3):
        yield subject.on(
            "unlike-training",
            "net-scale-factor",
            f"the recipe's scale is {recipe.scale:.10g}",
            recipe.scale,
        )
    given = subject.get("offsets") or (0.0,) * 3
    if len(given) == 3 and any(
        abs(one - other) > 0.01 for one, other in zip(given, recipe.offsets, strict=True)
    ):
        yield subject.on(
            "unlike-training", "offsets", "the recipe has other offsets", recipe.offsets
        )
    if (
        subject.get("model-color-format") in (0, 1)
        and _COLORS[subject.get("model-color-format")] != recipe.color
    ):
        yield subject.on(
            "unlike-training",
            "model-color-format",
            f"the recipe's order is {recipe.color}",
            int(recipe.color == "bgr"),
        )
    aspect, symmetric = LETTERBOX[recipe.letterbox]
    if bool(subject.get("maintain-aspect-ratio")) != aspect:
        yield subject.on(
            "unlike-training",
            "maintain-aspect-ratio",
            f"the recipe's letterbox is {recipe.letterbox}",
            aspect,
        )
    elif aspect and bool(subject.get("symmetric-padding")) != symmetric:
        yield subject.on(
            "unlike-training",
            "symmetric-padding",
            f"the recipe's letterbox is {recipe.letterbox}",
            symmetric,
        )
    if recipe.padding and aspect:
        yield subject.on(
            "unlike-training",
            "maintain-aspect-ratio",
            f"nvinfer pads with 0, the recipe with {recipe.padding}: calibrate with padding 0",
            severity="note",
        )


RULES = (offsets, scale, color, padding, training)
