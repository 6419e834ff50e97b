"""RF-DETR, by its own ``export``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Options, Preprocess, Reference

PRELOAD = ("rfdetr", "torch.onnx", "onnxruntime", "supervision")
NAMES = ["person", "bicycle", "car"]
HOW: dict[str, dict[str, object]] = {
    "default": {},
    "dynamic": {"dynamic_batch": True},
    "opset18": {"opset_version": 18},
}


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for how in HOW:
        yield Entry(f"rfdetr/nano/{how}", partial(make, "RFDETRNano", how))
    yield Entry("rfdetr/nano/seg", partial(make, "RFDETRSegNano", "default"))


def make(kind: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a model with three classes."""
    import rfdetr

    torch.manual_seed(draw.SEED)
    model = getattr(rfdetr, kind)(pretrain_weights=None, num_classes=len(NAMES), device="cpu")
    net = model.model.model.eval()
    resolution = model.model_config.resolution
    size = (resolution, resolution)
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    frame = (draw.batch(size, 1) - mean) / std

    def forward() -> object:
        return net(frame)

    with torch.no_grad():
        forward()
    for layer in net.bbox_embed.layers[-1:]:
        torch.nn.init.normal_(layer.weight, std=0.02)
    draw.spread([net.class_embed], forward, 1.2, best=40)
    with torch.no_grad():
        net.class_embed.bias[-1] = -20.0  # 4 channels for 3 classes: training silences the last
    picture = file.with_suffix(".png")
    image = draw.photo(size)
    image.save(picture)
    shown = model.predict(image, threshold=0.25)
    written = Path(model.export(output_dir="out", verbose=False, **HOW[how]))
    found = [written] if written.suffix == ".onnx" else sorted(Path("out").rglob("*.onnx"))
    shutil.move(found[-1], file)
    words = ", ".join(f"{key}={value}" for key, value in HOW[how].items())
    arrays: Arrays = {}
    if kind == "RFDETRSegNano":
        import numpy as np

        arrays["masks"] = np.packbits(np.asarray(shown.mask, bool), axis=-1)
    return (
        Reference(
            library=f"rfdetr {version('rfdetr')}",
            task="segment" if arrays else "detect",
            size=size,
            call=f"{kind}().export({words})",
            image=picture.name,
            labels=NAMES,
            options=Options(labels=True),
            preprocess=Preprocess(
                offsets=(123.675, 116.28, 103.53), std=(0.229, 0.224, 0.225), stretch=True
            ),
            max_det=300,
            boxes=shown.xyxy.tolist(),
            scores=shown.confidence.tolist(),
            classes=shown.class_id.tolist(),
            tolerance=1.0,
        ),
        arrays,
    )
