"""The keys that exporters write into ``metadata_props``, and what they mean.

- Ultralytics, YOLOv5 and YOLOv7: ``names``, ``imgsz``, ``stride``, ``task``, ``head``, ``batch``,
  ``channels``, ``end2end``, ``author``. Values are Python's text.
- OpenVINO's Model API (OTX, Geti, Anomalib): ``model_info labels`` and others with that prefix.
- Deepness: ``class_names``, ``model_type``, ``standardization_mean``. Values are JSON.
- ONNX itself: ``Image.BitmapPixelFormat``, ``Image.NominalPixelRange``.
- OCR (RapidOCR, RapidLayout): ``character``, one a line; layouts have their classes there.
- Hugging Face: ``id2label``, ``image_mean``, ``image_std``, also inside a ``config`` of JSON.
- LibreYOLO: ``model_family``, which names the preprocessing (see `libreyolo`).
- trtforge: ``trtforge.preprocess``, what a graph takes whose weights hold a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import ValidationError

from trtforge.metadata import libreyolo, values
from trtforge.metadata.records import Color, Entry, Letterbox, Metadata, Normalization, Task, Triple
from trtforge.recipe import Preprocess

Value = TypeVar("Value")
Texts = Mapping[str, str]

OWN = "trtforge.preprocess"
MODEL_INFO = "model_info "
CHARACTERS = "character"
NAMES = (
    "names",
    "class_names",
    "classes",
    "class_labels",
    "labels",
    "label_names",
    "id2label",
    "label2id",
    "categories",
)
SIZES = ("imgsz", "img_size", "image_size", "input_size")
CONTAINERS = ("config", "metadata", "model_config", "preprocessor_config", "rfdetr_notes")
TASKS: Mapping[str, Task] = {
    "detect": "detect",
    "detection": "detect",
    "object-detection": "detect",
    "detector": "detect",
    "rotated_detection": "obb",
    "obb": "obb",
    "segment": "segment",
    "instance_segmentation": "segment",
    "pose": "pose",
    "classify": "classify",
    "classification": "classify",
    "image-classification": "classify",
    "multi_class_cls": "classify",
    "multi_label_cls": "classify",
    "h_label_cls": "classify",
    "semantic": "semantic",
    "segmentation": "semantic",
    "semantic_segmentation": "semantic",
    "semantic-segmentation": "semantic",
    "image-segmentation": "semantic",
    "segmentor": "semantic",
    "embed": "embed",
    "embedding": "embed",
    "feature-extraction": "embed",
    "image-feature-extraction": "embed",
    "reid": "embed",
    "depth": "other",
    "depth-estimation": "other",
    "regressor": "other",
    "superresolution": "other",
}
NOTHING_SAID = ("", "None", "null")
STRETCHED_HEADS = ("RTDETRDecoder",)  # of Ultralytics, whose other detectors letterbox
MEANS = (
    ("standardization_mean", "standardization_std"),
    ("image_mean", "image_std"),
    ("mean", "std"),
    ("normalize_mean", "normalize_std"),
)
RESIZES: Mapping[str, Letterbox] = {
    "standard": "none",
    "crop": "none",
    "fit_to_window": "top-left",
    "fit_to_window_letterbox": "symmetric",
}
RANGES: Mapping[str, Normalization] = {
    "nominalrange_0_255": Normalization(1.0),
    "normalized_0_1": Normalization(),
    "normalized_1_1": Normalization(1 / 127.5, (127.5, 127.5, 127.5)),
}
COLORS: Mapping[str, Color] = {"rgb8": "rgb", "rgb16": "rgb", "bgr8": "bgr", "bgr16": "bgr"}


def parse(texts: Texts) -> Metadata:
    """Return what the keys of a file's metadata say. What is not understood says nothing."""
    texts = {**_inside(texts), **texts}
    found = Metadata(
        names=_names(texts),
        characters=_entry(texts, (CHARACTERS,), values.characters),
        size=_entry(texts, SIZES, values.sides),
        task=_entry(texts, ("task", "model_type", MODEL_INFO + "task_type"), _task),
        batch=_entry(texts, ("batch",), values.whole),
        channels=_entry(texts, ("channels",), values.whole),
        stride=_entry(texts, ("stride",), values.whole),
        end2end=_entry(texts, ("end2end",), values.truth),
        best_class=_best_class(texts),
        normalization=_sane(_normalization(texts)),
        color=_color(texts),
        letterbox=_letterbox(texts),
    )
    return replace(found, unread=tuple(_unread(texts, found)))


def _unread(texts: Texts, found: Metadata) -> Iterator[str]:
    """Yield the keys that have one meaning only, and no value of it."""
    meanings = {
        "names": found.names,
        "class_names": found.names,
        "id2label": found.names,
        "imgsz": found.size,
        "batch": found.batch,
        "channels": found.channels,
        "stride": found.stride,
        "end2end": found.end2end,
        OWN: _own(texts),
    }
    for key, value in meanings.items():
        if value is None and texts.get(key, "").strip() not in NOTHING_SAID:
            yield key


def _best_class(texts: Texts) -> Entry[bool] | None:
    """Return what Ultralytics' ``predict`` does: it takes the best class of each box."""
    return Entry(True, "author") if texts.get("author") == "Ultralytics" else None


def _inside(texts: Texts) -> dict[str, str]:
    """Return the values inside the JSON objects that are values themselves, by ``OUTER.INNER``."""
    found: dict[str, str] = {}
    for outer in CONTAINERS:
        content = values.literal(texts.get(outer, ""))
        if isinstance(content, dict):
            for key, value in content.items():
                found[f"{outer}.{key}"] = value if isinstance(value, str) else repr(value)
    return found


def _entry(
    texts: Texts, keys: tuple[str, ...], read: Callable[[str], Value | None]
) -> Entry[Value] | None:
    """Return the first of some keys that has a value."""
    nested = tuple(f"{outer}.{key}" for outer in CONTAINERS for key in keys)
    for key in (*keys, *nested):
        value = read(texts[key]) if key in texts else None
        if value is not None and value != ():
            return Entry(value, key)
    return None


def _names(texts: Texts) -> Entry[tuple[str, ...]] | None:
    info = MODEL_INFO + "labels"
    if info in texts:
        words = values.words(texts[info])
        if words:
            return Entry(tuple(word.replace("_", " ") for word in words), info)
    return _entry(texts, NAMES, values.names) or _entry(texts, (CHARACTERS,), values.names)


def _task(text: str) -> Task | None:
    value = values.literal(text)
    return TASKS.get((value if isinstance(value, str) else text).strip().lower())


def _normalization(texts: Texts) -> Entry[Normalization] | None:
    own = _own(texts)
    if own:
        return Entry(Normalization(own.scale, own.offsets, own.std), OWN)
    info = _model_info(texts)
    if info:
        return Entry(info, MODEL_INFO + "mean_values")
    for mean, std in MEANS:
        found = _entry(texts, (mean,), _triple)
        spread = _entry(texts, (std,), _triple)
        if found and spread and min(spread.value) > 0:
            return Entry(_of_mean(found.value, spread.value), found.key)
    family = libreyolo.feed(texts)
    if family:
        return Entry(family.normalization, libreyolo.FAMILY)
    if _is_ultralytics(texts):
        return Entry(Normalization(), "task")
    return _entry(_folded(texts), ("image.nominalpixelrange",), _range)


def _sane(found: Entry[Normalization] | None) -> Entry[Normalization] | None:
    """Return a normalisation that pixels can have; None for any other."""
    if found is None:
        return None
    steps = found.value
    possible = 0 < steps.scale <= 1 and all(0 <= offset <= 255 for offset in steps.offsets)
    return found if possible and all(0 < std < 100 for std in steps.std or ()) else None


def _own(texts: Texts) -> Preprocess | None:
    if OWN not in texts or len(texts[OWN]) > values.MAX_CHARACTERS:
        return None
    try:
        return Preprocess.model_validate_json(texts[OWN])
    except ValidationError:
        return None


def _model_info(texts: Texts) -> Normalization | None:
    """Return OpenVINO's ``(pixel - mean) / scale``; None where the graph does it itself."""
    embedded = values.truth(texts.get(MODEL_INFO + "embedded_processing", ""))
    mean = _triple(texts.get(MODEL_INFO + "mean_values", ""))
    scale = _triple(texts.get(MODEL_INFO + "scale_values", ""))
    if embedded or (mean is None and scale is None):
        return None
    offsets = mean or (0.0, 0.0, 0.0)
    first, second, third = scale or (1.0, 1.0, 1.0)
    if min(first, second, third) <= 0:
        return None
    if first == second == third:
        return Normalization(1 / first, offsets)
    return Normalization(1 / 255, offsets, (first / 255, second / 255, third / 255))


def _triple(text: str) -> Triple | None:
    """Return three numbers, or one for all three channels."""
    found = values.numbers(text)
    found = found * 3 if len(found) == 1 else found
    return (found[0], found[1], found[2]) if len(found) == 3 else None


def _of_mean(mean: Triple, std: Triple) -> Normalization:
    """Return the normalisation by means and deviations, which may be in 0..1 or 0..255."""
    unit = 255.0 if max(*mean, *std) <= 1 else 1.0
    offsets = (mean[0] * unit, mean[1] * unit, mean[2] * unit)
    first, second, third = (value * unit for value in std)
    if first == second == third:
        return Normalization(1 / first, offsets)
    return Normalization(1 / 255, offsets, (first / 255, second / 255, third / 255))


def _range(text: str) -> Normalization | None:
    return RANGES.get(text.strip().lower())


def _color(texts: Texts) -> Entry[Color] | None:
    own = _own(texts)
    if own:
        return Entry(own.color, OWN)
    swapped = MODEL_INFO + "reverse_input_channels"
    reads_rgb = values.truth(texts.get(swapped, ""))  # its pictures are OpenCV's, in BGR
    if reads_rgb is not None:
        return Entry("rgb" if reads_rgb else "bgr", swapped)
    family = libreyolo.feed(texts)
    if family:
        return Entry(family.color, libreyolo.FAMILY)
    return _entry(_folded(texts), ("image.bitmappixelformat",), _format)


def _format(text: str) -> Color | None:
    return COLORS.get(text.strip().lower())


def _letterbox(texts: Texts) -> Entry[Letterbox] | None:
    own = _own(texts)
    if own:
        return Entry(own.letterbox, OWN)
    found: Entry[Letterbox] | None = _entry(texts, (MODEL_INFO + "resize_type",), _resize)
    if found:
        return found
    family = libreyolo.feed(texts)
    if family:
        return Entry(family.letterbox, libreyolo.FAMILY)
    if not _is_ultralytics(texts):
        return None
    if _task(texts["task"]) in ("classify", "other"):
        return Entry("none", "task")  # they cut out the centre, which nvinfer can't, or stretch
    head = texts.get("head", "").strip()  # older versions wrote none
    if not head:
        return None
    if head in STRETCHED_HEADS:
        return Entry("none", "head")
    return Entry("symmetric", "head")


def _resize(text: str) -> Letterbox | None:
    return RESIZES.get(text.strip().lower())


def _is_ultralytics(texts: Texts) -> bool:
    return {"stride", "task", "names"} <= texts.keys()


def _folded(texts: Texts) -> Texts:
    """Return the metadata with its keys in lower case: ONNX's own have none of their own."""
    return {key.lower(): text for key, text in texts.items()}
