"""Hugging Face's detectors, segmenters and classifiers, small ones, by torch's own exporters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.exporters.torchvision import normal, write
from tests.zoo.reference import Arrays, Options, Preprocess, Reference

PRELOAD = ("transformers", "torch.onnx", "onnxscript", "onnxruntime", "transformers.models.rt_detr.modeling_rt_detr", "transformers.models.segformer.modeling_segformer")  # fmt: skip
SIZE = (256, 256)
NAMES = ["person", "bicycle", "car", "dog", "bus"]
HOW: dict[str, dict[str, object]] = {
    "dynamo": {"dynamo": True},
    "dynamo-dynamic": {"dynamo": True, "dynamic": True},
    "script": {"dynamo": False, "opset": 17},
    "script-dynamic": {"dynamo": False, "opset": 17, "dynamic": True},
}
DETECTORS = ("rt_detr", "rt_detr_v2", "d_fine", "detr", "yolos", "conditional_detr")
SCORE = 0.25
MANY = 100
PLAIN = Preprocess(stretch=True)
IMAGENET = Preprocess(offsets=(123.675, 116.28, 103.53), std=(0.229, 0.224, 0.225), stretch=True)


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for name in DETECTORS:
        for how in HOW:
            yield Entry(f"transformers/{name}/{how}", partial(detector, name, how))
    for name in ("vit", "convnext", "mobilevit", "swin"):
        for how in ("dynamo", "script"):
            yield Entry(f"transformers/classify/{name}-{how}", partial(classifier, name, how))
    for how in ("dynamo", "script"):
        yield Entry(f"transformers/semantic/segformer-{how}", partial(segformer, how))
        yield Entry(f"transformers/embedding/dinov2-{how}", partial(dinov2, how))


class Outputs(nn.Module):
    """A model that puts out tensors alone, as users wrap it for export."""

    def __init__(self, net: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.names = net, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.net(pixel_values=image)
        return tuple(getattr(found, name) for name in self.names)


def small(name: str) -> tuple[nn.Module, object, Preprocess]:
    """Return a small detector, its image processor, and what it does to pictures."""
    import transformers as hf

    names = {"id2label": dict(enumerate(NAMES)), "label2id": {n: i for i, n in enumerate(NAMES)}}
    deep = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_queries": MANY}
    if name in {"rt_detr", "rt_detr_v2", "d_fine"}:
        deep |= {"encoder_hidden_dim": 64, "decoder_layers": 3, "decoder_attention_heads": 4, "encoder_attention_heads": 4, "decoder_in_channels": [64] * 3}  # fmt: skip
        backbone = hf.RTDetrResNetConfig(depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 128, 256], layer_type="basic", embedding_size=32, out_features=["stage2", "stage3", "stage4"])  # fmt: skip
        words = dict(backbone_config=backbone, encoder_in_channels=[64, 128, 256], freeze_backbone_batch_norms=False, **deep, **names)  # fmt: skip
        config, kind = {
            "rt_detr": (hf.RTDetrConfig, hf.RTDetrForObjectDetection),
            "rt_detr_v2": (hf.RTDetrV2Config, hf.RTDetrV2ForObjectDetection),
            "d_fine": (hf.DFineConfig, hf.DFineForObjectDetection),
        }[name]
        if name == "d_fine":
            words |= {"encoder_in_channels": [64, 128, 256]}
        return kind(config(**words)), hf.RTDetrImageProcessor(), PLAIN
    if name in {"detr", "conditional_detr"}:
        backbone = hf.ResNetConfig(depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 128, 256], layer_type="basic", embedding_size=32, out_features=["stage4"])  # fmt: skip
        config, kind, processor = {
            "detr": (hf.DetrConfig, hf.DetrForObjectDetection, hf.DetrImageProcessor),
            "conditional_detr": (hf.ConditionalDetrConfig, hf.ConditionalDetrForObjectDetection, hf.ConditionalDetrImageProcessor),
        }[name]  # fmt: skip
        words = dict(use_timm_backbone=False, backbone=None, backbone_config=backbone, use_pretrained_backbone=False, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, **deep, **names)  # fmt: skip
        return kind(config(**words)), processor(), replace(IMAGENET, stretch=False)
    words = dict(hidden_size=96, num_hidden_layers=3, num_attention_heads=3, intermediate_size=192, image_size=list(SIZE), num_detection_tokens=MANY, use_mid_position_embeddings=False, **names)  # fmt: skip
    return (
        hf.YolosForObjectDetection(hf.YolosConfig(**words)),
        hf.YolosImageProcessor(),
        replace(IMAGENET, stretch=False),
    )


def detector(name: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a detector with its raw outputs, logits and pred_boxes, as the library names them."""
    torch.manual_seed(draw.SEED)
    net, processor, preprocess = small(name)
    frames = draw.batch(SIZE) if preprocess == PLAIN else normal(SIZE)
    one = frames[:1]

    def forward() -> object:
        return net(pixel_values=one)

    if preprocess != PLAIN:
        wake(net)
    draw.settle(net, lambda: net(pixel_values=frames))
    net.eval()
    spread_queries(net, forward)
    with torch.no_grad():  # before the export, which may leave traced tensors in caches
        found = net(pixel_values=one)
    call = write(Outputs(net, ("logits", "pred_boxes")), one, file, HOW[how], ("logits", "pred_boxes"))  # fmt: skip
    (shown,) = processor.post_process_object_detection(  # type: ignore[attr-defined]
        found, threshold=SCORE, target_sizes=[SIZE]
    )
    recipes = {"detr": "detr", "yolos": "detr", "conditional_detr": "rtdetr"}
    wanted = recipes.get(name)
    return (
        replace(
            reference(f"{type(net).__name__}: {call}", "detect", SIZE, file, preprocess),
            options=Options(recipe=wanted, labels=True),
            labels=NAMES,
            boxes=shown["boxes"].tolist(),
            scores=shown["scores"].tolist(),
            classes=shown["labels"].tolist(),
        ),
        {},
    )


def wake(net: nn.Module) -> None:
    """Draw larger weights: with fresh ones every query sees the same."""
    for name, weight in net.named_parameters():
        if "query_position" in name or "detection_tokens" in name or "position_embeddings" in name:
            nn.init.normal_(weight)
        elif weight.ndim == 2:
            nn.init.xavier_uniform_(weight)


def spread_queries(net: nn.Module, forward: Callable[[], object]) -> None:
    """Spread the scores and the boxes of every decoder layer."""
    classes = len(NAMES)
    softmax = bool(draw.layers_of(net, [classes + 1]))
    heads = draw.layers_of(net, [classes + softmax])
    boxes = [each for each in draw.layers_of(net, [4]) if isinstance(each, nn.Linear)]
    for layer in boxes + draw.layers_of(net, [4 * 33]):
        if not layer.weight.abs().sum():
            nn.init.normal_(layer.weight, std=0.05)
    for index, layer in enumerate(heads):
        try:
            if softmax:
                draw.spread([layer], forward, 1.5)
            elif index < len(heads) - 1:
                draw.spread([layer], forward, 1.5, mean=-3.0)
            else:
                draw.spread([layer], forward, 1.5, best=40)
        except (RuntimeError, ValueError):  # a layer of training alone, which no forward pass calls
            continue
    for layer in boxes[-1:] if len(boxes) == 1 else []:
        draw.spread([layer], forward, 0.8)


def classifier(name: str, how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export a classifier."""
    import transformers as hf

    torch.manual_seed(draw.SEED)
    words = {"num_labels": 10}
    net, size, preprocess = {
        "vit": lambda: (hf.ViTForImageClassification(hf.ViTConfig(hidden_size=96, num_hidden_layers=3, num_attention_heads=3, intermediate_size=192, image_size=224, **words)), (224, 224), None),
        "convnext": lambda: (hf.ConvNextForImageClassification(hf.ConvNextConfig(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], **words)), (224, 224), IMAGENET),
        "mobilevit": lambda: (hf.MobileViTForImageClassification(hf.MobileViTConfig(**words)), (256, 256), None),
        "swin": lambda: (hf.SwinForImageClassification(hf.SwinConfig(embed_dim=48, depths=[1, 1, 2, 1], num_heads=[3, 3, 6, 6], **words)), (224, 224), IMAGENET),
    }[name]()  # fmt: skip
    frames = normal(size)
    draw.settle(net, lambda: net(pixel_values=frames))
    net.eval()
    with torch.no_grad():
        net.classifier.weight *= 2.0 / net(pixel_values=frames[:1]).logits.std()
    with torch.no_grad():
        best = net(pixel_values=frames[:1]).logits[0].softmax(0).topk(5)
    call = write(Outputs(net, ("logits",)), frames[:1], file, HOW[how], ("logits",))
    top = [(int(i), float(p)) for i, p in zip(best.indices, best.values, strict=True)]
    known = preprocess is not None
    return (
        replace(
            reference(f"{type(net).__name__}: {call}", "classify", size, file, preprocess),
            labels=[f"kind {index}" for index in range(10)],
            options=Options(recipe="resnet" if known else None, labels=True),
            top=top if known else [],
        ),
        {},
    )


def segformer(how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export SegFormer, whose logits have a quarter of the size."""
    import transformers as hf

    torch.manual_seed(draw.SEED)
    net = hf.SegformerForSemanticSegmentation(hf.SegformerConfig(num_labels=6))
    frames = normal(SIZE)
    draw.settle(net, lambda: net(pixel_values=frames))
    net.eval()
    draw.spread([net.decode_head.classifier], lambda: net(pixel_values=frames[:1]), 1.0)
    with torch.no_grad():
        found = net(pixel_values=frames[:1])
    call = write(Outputs(net, ("logits",)), frames[:1], file, HOW[how], ("logits",))
    shown = hf.SegformerImageProcessor().post_process_semantic_segmentation(found, [SIZE])[0]
    return (
        replace(
            reference(f"{type(net).__name__}: {call}", "semantic", SIZE, file, IMAGENET),
            options=Options(recipe="segmentation"),
        ),
        {"map": shown.numpy().astype("uint8")},
    )


def dinov2(how: str, file: Path) -> tuple[Reference, Arrays]:
    """Export an embedding: one vector for a picture."""
    import transformers as hf

    torch.manual_seed(draw.SEED)
    net = hf.Dinov2Model(hf.Dinov2Config(hidden_size=96, num_hidden_layers=3, num_attention_heads=3, image_size=224)).eval()  # fmt: skip
    call = write(Outputs(net, ("pooler_output",)), normal((224, 224), 1), file, HOW[how], ("pooler_output",))  # fmt: skip
    return reference(f"Dinov2Model: {call}", "other", (224, 224), file, None), {}


def reference(call: str, task: str, size: tuple[int, int], file: Path, preprocess: Preprocess | None) -> Reference:  # fmt: skip
    """Return the reference of a file, and write its picture."""
    import transformers

    picture = file.with_suffix(".png")
    draw.photo(size).save(picture)
    return Reference(
        library=f"transformers {transformers.__version__}",
        task=task,
        size=size,
        call=call,
        image=picture.name,
        preprocess=preprocess,
        max_det=MANY,
        tolerance=1.0,
    )
