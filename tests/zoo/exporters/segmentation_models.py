"""segmentation-models-pytorch: maps of classes in the size of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.exporters.torchvision import HOW, IMAGENET, normal, write
from tests.zoo.reference import Arrays, Options, Reference

PRELOAD = ("segmentation_models_pytorch", "torch.onnx", "onnxscript", "onnxruntime")
SIZE = (256, 256)
MODELS = {
    "unet": ("Unet", "resnet18"),
    "fpn": ("FPN", "mobilenet_v2"),
    "deeplabv3plus": ("DeepLabV3Plus", "mobilenet_v2"),
    "linknet": ("Linknet", "resnet18"),
}


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for name in MODELS:
        for how in ("dynamo", "script-dynamic"):
            yield Entry(f"segmentation_models/semantic/{name}-{how}", partial(make, name, how))


def make(name: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a segmenter."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(draw.SEED)
    kind, encoder = MODELS[name]
    net = getattr(smp, kind)(encoder, encoder_weights=None, classes=5)
    frames = normal(SIZE)
    draw.settle(net, lambda: net(frames))
    net.eval()
    one = frames[:1]
    draw.spread([net.segmentation_head[0]], lambda: net(one), 1.0)
    with torch.no_grad():
        shown = net(one).argmax(1)[0]
    call = write(net, one, file, HOW[how])
    picture = file.with_suffix(".png")
    draw.photo(SIZE).save(picture)
    reference = Reference(
        library=f"segmentation-models-pytorch {smp.__version__}",
        task="semantic",
        size=SIZE,
        call=f"{kind}({encoder!r}): {call}",
        image=picture.name,
        preprocess=IMAGENET,
        options=Options(recipe="segmentation"),
    )
    return reference, {"map": shown.numpy().astype("uint8")}
