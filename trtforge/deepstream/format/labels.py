"""Class names, one a line."""

from __future__ import annotations

from pathlib import Path

from trtforge.errors import ForgeError
from trtforge.metadata import Entry

LONGEST = 1 << 20  # bytes of a labels file

COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass "
    "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink "
    "refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
).split()
UNUSED_IDS = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # of COCO's categories, 0 to 90


def _coco_by_id() -> list[str]:
    """Return COCO's names by their ids, 0 to 90, as torchvision, DETR and RF-DETR number them."""
    names = iter(COCO)
    return [f"class{number}" if number in UNUSED_IDS else next(names) for number in range(91)]


# Names by the number of classes that data set and numbering have alone among those in use.
_KNOWN = {
    80: (COCO, "COCO's 80"),
    90: (_coco_by_id()[1:], "COCO's ids 1 to 90"),
    91: (_coco_by_id(), "COCO's ids 0 to 90"),
}


def labels(
    given: Path | tuple[str, ...] | None,
    classes: int | None,
    stated: Entry[tuple[str, ...]] | None = None,
) -> tuple[list[str], str]:
    """Names for ``classes`` classes, and where they are from, in words.

    Args:
        given: a file, the names, or None: those that the model's file states, else COCO's for 80
            classes, else numbers.
        classes: number that the model tells apart; None if it is unknown.
        stated: names that the model's own file states; they are used if they are as many as classes.

    Raises:
        ForgeError: the file is missing or no text, or the numbers disagree.
    """
    if given is None:
        return _default(classes, stated)
    names = list(given) if isinstance(given, tuple) else _read(given)
    if classes is not None and len(names) != classes:
        where = f"{given}: " if isinstance(given, Path) else ""
        raise ForgeError(
            f"{where}{len(names)} labels for {classes} classes",
            "give one label a class, in their order",
        )
    origin = given.name if isinstance(given, Path) else "the recipe's"
    if stated and list(stated.value) != names:
        origin += f" (the file's own metadata has others: {stated.key})"
    return names, origin


def _default(classes: int | None, stated: Entry[tuple[str, ...]] | None) -> tuple[list[str], str]:
    contradiction = ""
    if stated and classes in (None, len(stated.value)):
        return list(stated.value), stated.origin
    if stated:
        contradiction = f"; {stated.origin} has {len(stated.value)} names for {classes} classes, so none is used"
    if classes in _KNOWN:
        known, title = _KNOWN[classes]
        names = [name.replace("_", " ") for name in known]
        why = f"the model has {classes} classes; --labels names others"
        return names, f"{title} ({why}){contradiction}"
    numbered = [f"class{index}" for index in range(classes or 0)]
    hint = "--labels FILE names them" if contradiction else "give --labels FILE for names"
    return numbered, f"numbered ({hint}){contradiction}"


def _read(path: Path) -> list[str]:
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file of labels", "give a text file with one class a line"
        )
    if path.stat().st_size > LONGEST:
        raise ForgeError(f"{path}: larger than 1 MiB, so not a list of labels", "")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForgeError(
            f"{path}: not UTF-8 text", "give a text file with one class a line"
        ) from error
    if ";" in text:
        raise ForgeError(
            f"{path}: holds a semicolon, where nvinfer ends a label", "write the names without"
        )
    return [line.strip() for line in text.splitlines() if line.strip()]


def text(names: list[str], counts: list[int]) -> str:
    """Return the text of a label file as nvinfer reads it.

    Args:
        counts: of a classifier, classes of each output: a line each, names separated by semicolons.
            Empty for other networks, whose file has a name a line.
    """
    if not counts:
        return "".join(f"{name}\n" for name in names) or "\n"
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return "".join(
        ";".join(names[end - count : end]) + "\n" for count, end in zip(counts, ends, strict=True)
    )
