"""Recipes with the user's options above them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError
from trtforge.options.nms import Nms
from trtforge.options.values import Names, PathLike, names_of

if TYPE_CHECKING:
    from pydantic import ValidationError

    from trtforge.recipe import Nms as Thresholds
    from trtforge.recipe import Recipe

NMS_FORMS = ("auto", "none", "keep", "onnx", "efficientnms", "deepstream")
PLAIN_NMS = Nms()
Figures = Mapping[str, "float | None"]


def load_recipe(
    name: PathLike | None,
    *,
    labels: PathLike | None = None,
    nms: Nms = PLAIN_NMS,
    keep: Names = (),
    only: Names = (),
) -> Recipe:
    """Return the recipe of a name or file, with the options above it; None is the empty recipe.

    Raises:
        ForgeError: there is no such recipe, it is wrong, or an option is out of its range.
    """
    from pydantic import ValidationError

    from trtforge import recipe as recipes

    base = recipes.load(recipes.find(str(name))) if name else recipes.Recipe()
    values: dict[str, float | bool | None] = {
        "score": nms.score,
        "iou": nms.iou,
        "max_det": nms.max_det,
        "class_agnostic": nms.class_agnostic or None,
        "best_class": nms.best_class,
    }
    given = {key: value for key, value in values.items() if value is not None}
    changes: dict[str, object] = {"nms": base.nms.model_dump(exclude_unset=True) | given}
    if labels:
        changes["labels"] = Path(labels)
    keep, only = names_of(keep), names_of(only)
    if keep or only:  # --keep adds to the recipe's patterns, --only replaces them
        precision = base.precision
        changes["precision"] = precision.model_dump(exclude_unset=True) | {
            "keep": [*precision.keep, *keep],
            "only": only or list(precision.only),
        }
    try:
        # What the recipe does not set stays unset: the model's file may say it.
        return recipes.Recipe.model_validate(base.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        raise _out_of_range(error) from error


def thresholds(base: Thresholds, figures: Figures) -> Thresholds:
    """Return the thresholds with those of the user above them.

    Raises:
        ForgeError: one is out of its range.
    """
    from pydantic import ValidationError

    given = {key: value for key, value in figures.items() if value is not None}
    try:
        return type(base).model_validate(base.model_dump() | given)
    except ValidationError as error:
        raise _out_of_range(error) from error


def check_nms(form: str, options: Mapping[str, object]) -> None:
    """Refuse options of an NMS where none is put in.

    Args:
        form: what ``--nms`` says.
        options: the value of each such option by its name; None, False and "auto" are defaults.

    Raises:
        ForgeError: one has no effect.
    """
    for name, value in options.items():
        default = value is None or value is False or value == "auto"
        if form in ("none", "keep") and not default:
            raise ForgeError(
                f"--{name} has no effect with --nms {form}",
                f"drop --{name}, or choose another --nms",
            )


def _out_of_range(error: ValidationError) -> ForgeError:
    first = error.errors()[0]
    option = str(first["loc"][-1]).replace("_", "-")
    return ForgeError(f"--{option}: {first['msg'].lower()}")
