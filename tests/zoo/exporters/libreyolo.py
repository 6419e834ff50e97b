"""LibreYOLO: detectors of many families under one licence, by its own ``export``, for its ONNX runtime and for DeepStream."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Options, Reference

PRELOAD = ("libreyolo.models", "libreyolo.export", "libreyolo.backends.onnx", "torch.onnx", "onnxruntime")  # fmt: skip
SIZE = (320, 320)
CLASSES = 6
# The library clips boxes before it suppresses them, as no runtime does. That decides where drawn weights make boxes as
# large as the picture, so nothing is suppressed here: the best boxes are compared.
IOU = 1.0
# Channels of the last layers of boxes: four sides, as numbers or as distributions.
SIDES = {
    "rtmdet": 4,
    "yolox": 4,
    "yolo9": 64,
    "ppyoloe": 68,
    "yolonas": 68,
    "picodet": 32 + CLASSES,
}
# Family: class, size, and the recipe that names what the graph does not show
FAMILIES: dict[str, tuple[str, str, str | None]] = {
    "yolox": ("LibreYOLOX", "n", None),
    "yolo9": ("LibreYOLO9", "t", None),
    "yolonas": ("LibreYOLONAS", "s", None),
    "ppyoloe": ("LibrePPYOLOE", "s", None),
    "picodet": ("LibrePICODET", "s", None),
    "rtmdet": ("LibreRTMDet", "t", None),
    "dfine": ("LibreDFINE", "n", None),
    "deim": ("LibreDEIM", "n", None),
    "yolo3": ("LibreYOLO3", "t", None),
    "yolo4": ("LibreYOLO4", "t", None),
    "yolo7": ("LibreYOLO7", "t", None),
    "efficientdet": ("LibreEfficientDet", "d0", None),
    "centernet": ("LibreCenterNet", "resdcn18", None),
}
HOW: dict[str, dict[str, object]] = {
    "default": {},
    "static": {"dynamic": False},
}
NMS = {"yolo9"}  # families with NMS in the graph


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for family in FAMILIES:
        for name, how in HOW.items():
            yield Entry(f"libreyolo/{family}/{name}", partial(make, family, how))
    for family in NMS:
        yield Entry(f"libreyolo/{family}/nms", partial(make, family, {"nms": True, "dynamic": False}))  # fmt: skip


def make(family: str, how: dict[str, object], file: Path) -> tuple[Reference, Arrays]:
    """Draw a model, export it, and let the library's ONNX backend predict with the file."""
    import libreyolo
    from libreyolo.backends.onnx import OnnxBackend

    torch.manual_seed(draw.SEED)
    kind, letter, recipe = FAMILIES[family]
    model = getattr(libreyolo, kind)(None, size=letter, nb_classes=CLASSES, device="cpu")
    size = (model.input_size, model.input_size) if family in {"efficientdet", "centernet", "dfine", "deim", "yolonas"} else SIZE  # fmt: skip
    frames = torch.cat([prepared(model, draw.photo(size, index), size) for index in range(4)])
    net: nn.Module = model.model
    draw.settle(net, lambda: net(frames))
    net.eval()
    spread_heads(net, frames[:1])
    spread_sides(net, frames[:1], SIDES.get(family, 0))
    model.names = {index: f"tool {index}" for index in range(CLASSES)}
    written = model.export(format="onnx", imgsz=size[0], output_path=str(Path("out.onnx").resolve()), simplify=False, **how)  # fmt: skip
    shutil.move(str(written), file)
    picture = file.with_suffix(".png")
    draw.photo(size).save(picture)
    found = OnnxBackend(str(file), nb_classes=CLASSES, device="cpu")(str(picture), conf=0.25, iou=IOU, imgsz=size[0])  # fmt: skip
    result = found[0] if isinstance(found, list) else found
    words = ", ".join(f"{key}={value}" for key, value in how.items())
    return (
        Reference(
            library=f"libreyolo {libreyolo.__version__}",
            task="detect",
            size=size,
            call=f"{kind}(size={letter!r}).export('onnx'{', ' if words else ''}{words})",
            image=picture.name,
            labels=list(model.names.values()),
            options=Options(recipe=recipe),
            score=0.25,
            iou=IOU,
            max_det=300,
            boxes=as_list(result.boxes.xyxy),
            scores=as_list(result.boxes.conf),
            classes=[int(each) for each in as_list(result.boxes.cls)],
        ),
        {},
    )


def prepared(model: object, image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """Return a picture as the library's own preprocessing makes it."""
    tensor, *_ = model._preprocess(image, "rgb", size[0])  # type: ignore[attr-defined]
    return tensor.float()


def as_list(values: object) -> list:  # type: ignore[type-arg]
    """Return a tensor or an array as a list."""
    return torch.as_tensor(values).float().tolist()


def spread_heads(net: nn.Module, frame: torch.Tensor) -> None:
    """Spread the scores: of layers with a channel for each class, or of anchors with boxes beside them."""
    heads = draw.layers_of(net, [CLASSES])
    rest = draw.layers_of(net, [3 * (5 + CLASSES)])
    called = [layer for layer in heads if is_called(net, frame, layer)]
    if called and isinstance(called[-1], nn.Linear):
        draw.spread(called[-1:], lambda: net(frame), 1.2, best=60)
    elif called:
        draw.spread(called, lambda: net(frame), 1.2, best=120)
    for layer in rest:
        draw.spread([layer], lambda: net(frame), 1.0)
        with torch.no_grad():
            layer.bias.reshape(3, 5 + CLASSES)[:, 4] -= 1.5
    for layer in draw.layers_of(net, [1]):  # objectness of YOLOX
        if isinstance(layer, nn.Conv2d) and is_called(net, frame, layer):
            draw.spread([layer], lambda: net(frame), 1.0, mean=1.0)


def spread_sides(net: nn.Module, frame: torch.Tensor, channels: int) -> None:
    """Give boxes sides of a few cells: greater ones than 0, and short distances above long ones."""
    for layer in draw.layers_of(net, [channels]):
        if not isinstance(layer, nn.Conv2d) or not is_called(net, frame, layer):
            continue
        draw.spread([layer], lambda: net(frame), 0.5, mean=1.5 if channels == 4 else 0.0)
        if channels > 4:
            bins = layer.bias[CLASSES if channels == 32 + CLASSES else 0 :].reshape(4, -1)
            with torch.no_grad():
                bins -= 0.5 * torch.arange(bins.shape[1])
        if channels == 32 + CLASSES:  # classes lie before the sides
            with torch.no_grad():
                layer.weight[:CLASSES] *= 3
                layer.bias[:CLASSES] -= 2.5


def is_called(net: nn.Module, frame: torch.Tensor, layer: nn.Module) -> bool:
    """Tell whether a forward pass reaches a layer."""
    try:
        draw.outputs([layer], lambda: net(frame))
    except RuntimeError:
        return False
    return True
