"""timm: classifiers and embeddings, by ``timm.utils.onnx.onnx_export``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Options, Preprocess, Reference

PRELOAD = ("timm", "timm.utils.onnx", "torch.onnx", "onnxscript", "onnxruntime")
CLASSES = 20
NAMES = [f"plant {index}" for index in range(CLASSES)]
CLASSIFIERS = ("resnet18", "mobilenetv3_small_050", "tf_efficientnet_b0", "vit_tiny_patch16_224", "convnext_atto", "repvgg_a0", "mobileone_s0", "ghostnet_050", "mobilevit_xxs", "edgenext_xx_small", "levit_128s", "regnetx_002")  # fmt: skip
EMBEDDINGS = ("resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224")
# The recipe for ImageNet's mean and deviation; others have no recipe that comes with trtforge.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for name in CLASSIFIERS:
        for how in ("dynamo", "script"):
            yield Entry(f"timm/classify/{name}-{how}", partial(make, name, how, CLASSES))
    for name in EMBEDDINGS:
        yield Entry(f"timm/embedding/{name}-dynamo", partial(make, name, "dynamo", 0))


def make(name: str, how: str, classes: int, file: Path) -> tuple[Reference, Arrays]:
    """Export a classifier, or with no classes the features before its last layer."""
    import timm
    from timm.data import resolve_model_data_config
    from timm.utils.onnx import onnx_export

    torch.manual_seed(draw.SEED)
    net = timm.create_model(name, pretrained=False, num_classes=classes, exportable=True)
    config = resolve_model_data_config(net)
    _, height, width = config["input_size"]
    size = (height, width)
    mean, std = (torch.tensor(config[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    frames = (draw.batch(size) - mean) / std
    draw.settle(net, lambda: net(frames))
    net.eval()
    if classes:
        heads = draw.layers_of(net, [classes])
        with torch.no_grad():
            scale = 2.0 / net(frames[:1]).std()
            for head in heads:
                head.weight *= scale
                head.bias *= scale
    with torch.no_grad():
        best = net(frames[:1])[0].softmax(0).topk(5)
    onnx_export(
        net,
        str(file),
        batch_size=1,
        input_size=(3, height, width),
        use_dynamo=how == "dynamo",
        opset=None if how == "dynamo" else 17,
        input_names=["input0"],
        output_names=["output0"],
    )
    picture = file.with_suffix(".png")
    draw.photo(size).save(picture)
    known = (tuple(config["mean"]), tuple(config["std"])) == IMAGENET and size == (224, 224)
    reference = Reference(
        library=f"timm {timm.__version__}",
        task="classify" if classes else "other",
        size=size,
        call=f"onnx_export(create_model({name!r}, num_classes={classes}), use_dynamo={how == 'dynamo'})",
        image=picture.name,
        labels=NAMES if classes else None,
        preprocess=Preprocess(
            offsets=tuple(255 * each for each in config["mean"]),
            std=tuple(config["std"]),
            stretch=True,
        )
        if known and classes
        else None,
        options=Options(recipe="resnet" if known and classes else None, labels=bool(classes)),
        top=[(int(i), float(p)) for i, p in zip(best.indices, best.values, strict=True)]
        if classes and known
        else [],
    )
    return reference, {}
