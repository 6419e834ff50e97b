"""torchvision: classifiers, segmentation and detectors, by torch's own exporters, which is how its users write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Options, Preprocess, Reference

PRELOAD = ("torchvision", "torch.onnx", "onnxscript", "onnx", "onnxruntime")
IMAGENET = Preprocess(
    scale=1 / 255,
    offsets=(123.675, 116.28, 103.53),
    std=(0.229, 0.224, 0.225),
    stretch=True,
)
CLASSIFIERS = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf", "mnasnet0_5", "swin_t", "densenet121", "googlenet")  # fmt: skip
SEGMENTERS = ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large")
DETECTORS = {
    "ssdlite320_mobilenet_v3_large": (320, 320),
    "ssd300_vgg16": (300, 300),
    "retinanet_resnet50_fpn": (320, 320),
    "fcos_resnet50_fpn": (320, 320),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (320, 320),
    "maskrcnn_resnet50_fpn": (320, 320),
    "keypointrcnn_resnet50_fpn": (320, 320),
}
HOW: dict[str, dict[str, object]] = {
    "dynamo": {"dynamo": True},
    "dynamo-dynamic": {"dynamo": True, "dynamic": True},
    "script": {"dynamo": False, "opset": 17},
    "script-dynamic": {"dynamo": False, "opset": 13, "dynamic": True},
}
CLASSES = 7  # of detectors, background among them
NAMES = [f"animal {index}" for index in range(20)]


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for name in CLASSIFIERS:
        for how in HOW if name in {"resnet18", "mobilenet_v3_small"} else ("dynamo", "script"):
            yield Entry(f"torchvision/classify/{name}-{how}", partial(classifier, name, how))
    for name in SEGMENTERS:
        for how in ("dynamo", "script", "script-dynamic"):
            yield Entry(f"torchvision/semantic/{name}-{how}", partial(segmenter, name, how))
    for name, size in DETECTORS.items():
        yield Entry(f"torchvision/detect/{name}-script", partial(detector, name, size))


class Output(nn.Module):
    """A segmenter without its dictionary, as users export it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        out: Mapping[str, Tensor] = self.net(image)
        return out["out"]


def write(net: nn.Module, image: Tensor, file: Path, how: Mapping[str, object], names: tuple[str, ...] = ("output",)) -> str:  # fmt: skip
    """Export, and return the call."""
    words: dict[str, object] = {}
    if how.get("dynamic") and how["dynamo"]:
        words["dynamic_shapes"] = ({0: "batch"},)
    elif how.get("dynamic"):
        words["dynamic_axes"] = {"input": {0: "batch"}}
    if "opset" in how:
        words["opset_version"] = how["opset"]
    shown = ", ".join(f"{key}={value}" for key, value in words.items())
    torch.onnx.export(
        net,
        (image,),
        str(file),
        dynamo=bool(how["dynamo"]),
        input_names=["input"],
        output_names=list(names),
        **({"external_data": False} if how["dynamo"] else {}),  # type: ignore[arg-type]
        **words,  # type: ignore[arg-type]
    )
    return f"torch.onnx.export(dynamo={how['dynamo']}{', ' if shown else ''}{shown})"


def normal(size: tuple[int, int], count: int = 4) -> Tensor:
    """Return pictures, normalized as ImageNet's."""
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    return (draw.batch(size, count) - mean) / torch.tensor(IMAGENET.std).reshape(3, 1, 1)


def classifier(name: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a classifier; its file says nothing of names and normalization."""
    import torchvision

    size = (224, 224)
    torch.manual_seed(draw.SEED)
    words = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=len(NAMES), **words)
    frames = normal(size)
    draw.settle(net, lambda: net(frames))
    net.eval()
    heads = draw.layers_of(net, [len(NAMES)])[-1:]
    one = normal(size, 1)
    with torch.no_grad():
        logits = net(one)[0]
        heads[0].weight *= 2.0 / logits.std()
        heads[0].bias *= 2.0 / logits.std()
        probabilities = net(one)[0].softmax(0)
    call = write(net, one, file, HOW[how])
    best = probabilities.topk(5)
    return (
        reference(
            f"models.{name}: {call}",
            "classify",
            size,
            file,
            labels=NAMES,
            options=Options(recipe="resnet", labels=True),
            top=[(int(i), float(p)) for i, p in zip(best.indices, best.values, strict=True)],
        ),
        {},
    )


def segmenter(name: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a segmenter."""
    import torchvision

    size = (256, 256)
    torch.manual_seed(draw.SEED)
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    frames = normal(size)
    draw.settle(net, lambda: net(frames))
    net.eval()
    one = normal(size, 1)
    draw.spread(draw.layers_of(net, [5]), lambda: net(one), 1.0)
    with torch.no_grad():
        shown = net(one)["out"].argmax(1)[0]
    call = write(Output(net), one, file, HOW[how])
    return (
        reference(
            f"models.segmentation.{name}: {call}",
            "semantic",
            size,
            file,
            options=Options(recipe="segmentation"),
        ),
        {"map": shown.numpy().astype("uint8")},
    )


def detector(name: str, size: tuple[int, int], file: Path) -> tuple[Reference, Arrays]:
    """Export a detector: resizing, normalization and NMS are in the graph."""
    import torchvision

    torch.manual_seed(draw.SEED)
    words: dict[str, object] = {}
    if not name.startswith("ssd"):
        words = {"min_size": size[0], "max_size": size[1]}
    net = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=CLASSES, **words
    )
    frames = draw.batch(size)
    one = [frames[0]]
    draw.settle(net, lambda: net(list(frames)))
    net.eval()
    spread_detector(net, one)
    with torch.no_grad():
        (found,) = net(one)
    names = tuple(found)
    call = write(net, one, file, {"dynamo": False, "opset": 17}, names)  # type: ignore[arg-type]
    kept = found["scores"] > 0.25
    arrays: Arrays = {}
    return (
        reference(
            f"models.detection.{name}: {call}",
            "detect",
            size,
            file,
            preprocess=Preprocess(scale=1 / 255, stretch=name.startswith("ssd")),
            best_class=None,
            boxes=found["boxes"][kept].tolist(),
            scores=found["scores"][kept].tolist(),
            classes=found["labels"][kept].tolist(),
            iou=0.5,
            refused="is not a batch of images",  # its input is one picture (3, H, W)
        ),
        arrays,
    )


def spread_detector(net: nn.Module, one: list[Tensor]) -> None:
    """Spread the scores of a detector of this library."""
    head = getattr(net, "head", None)
    if head is None:  # two stages
        draw.spread([net.rpn.head.cls_logits], lambda: net(one), 1.5)
        draw.spread([net.roi_heads.box_predictor.cls_score], lambda: net(one), 1.5)
        return
    logits = getattr(head.classification_head, "cls_logits", None)
    if logits is not None:
        draw.spread([logits], lambda: net(one), 1.5, best=90)
        return
    chosen = list(head.classification_head.module_list)
    lasts = [each if isinstance(each, nn.Conv2d) else each[-1] for each in chosen]
    for layer in lasts:
        draw.spread([layer], lambda: net(one), 1.2)


def reference(
    call: str, task: str, size: tuple[int, int], file: Path, **words: object
) -> Reference:
    """Return the reference of a file, and write its picture."""
    import torchvision

    picture = file.with_suffix(".png")
    draw.photo(size).save(picture)
    given = {"preprocess": IMAGENET} | words
    return Reference(
        library=f"torchvision {torchvision.__version__.partition('+')[0]}",
        task=task,
        size=size,
        call=call,
        image=picture.name,
        **given,  # type: ignore[arg-type]
    )
