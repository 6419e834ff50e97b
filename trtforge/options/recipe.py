"""Words that stand above a recipe's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from trtforge import recipe as recipes
from trtforge.errors import ForgeError
from trtforge.recipe import Nms, Recipe

NMS_FORMS = ("auto", "none", "keep", "onnx", "efficientnms", "deepstream")


def load(
    name: str | None,
    *,
    labels: Path | None = None,
    score: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    class_agnostic: bool = False,
    keep: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Recipe:
    """The recipe of that name or file (None: the defaults), with the command line's word above it.

    Raises:
        ForgeError: see ``trtforge.recipe.load``; a value is out of its range.
    """
    found = recipes.load(recipes.find(name)) if name else Recipe()
    given = {
        "score": score,
        "iou": iou,
        "max_det": max_det,
        "class_agnostic": class_agnostic or None,
    }
    changes: dict[str, object] = {
        "nms": found.nms.model_dump()
        | {key: value for key, value in given.items() if value is not None}
    }
    if labels:
        changes["labels"] = labels
    if keep or only:  # --keep adds to the recipe's, --only stands in its place
        own = found.precision
        changes["precision"] = own.model_dump() | {
            "keep": [*own.keep, *keep],
            "only": list(only or own.only),
        }
    try:
        return Recipe.model_validate(found.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        raise ForgeError(
            f"--{str(first['loc'][-1]).replace('_', '-')}: {first['msg'].lower()}", ""
        ) from error


def check_nms(form: str, given: Mapping[str, object]) -> None:
    """Refuse options about an NMS where none is put in.

    Args:
        given: value of each such option by its name; None, False and ``auto`` are no word.

    Raises:
        ForgeError: it names the first of them.
    """
    name = next(
        (
            name
            for name, value in given.items()
            if not (value is None or value is False or value == "auto")
        ),
        None,
    )
    if form in ("none", "keep") and name:
        raise ForgeError(
            f"--{name} is about the NMS that is put in, and --nms {form} puts in none",
            f"drop it, or give another form than {form}",
        )


def nms(base: Nms, given: Mapping[str, object]) -> Nms:
    """``base`` with the command line's word above it.

    Raises:
        ForgeError: a value is out of its range.
    """
    try:
        return Nms.model_validate({**base.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise ForgeError(
            f"--{str(first['loc'][-1]).replace('_', '-')}: {first['msg'].lower()}", ""
        ) from error
