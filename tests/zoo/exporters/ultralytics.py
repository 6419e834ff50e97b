"""Ultralytics: every family and task that its package describes, as its own ``export`` writes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.zoo import draw
from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Preprocess, Reference

SIZE = (320, 320)
SCORE, IOU, MOST = 0.25, 0.7, 300
NAMES = ["person", "bicycle", "car", "traffic light", "dog", "tennis racket", "bus"]
DETECT = {
    "yolov3": "yolov3-tiny.yaml",
    "yolov5": "yolov5n.yaml",
    "yolov6": "yolov6n.yaml",
    "yolov8": "yolov8n.yaml",
    "yolov9": "yolov9t.yaml",
    "yolov10": "yolov10n.yaml",
    "yolo11": "yolo11n.yaml",
    "yolo12": "yolo12n.yaml",
    "yolo26": "yolo26n.yaml",
    "rtdetr": "yolov8n-rtdetr.yaml",
}
RANKED = {"yolov10", "yolo26"}  # have a head that needs no NMS: exported with nms=False
TASKS = {"seg": ("yolov8", "yolo11", "yolo26"), "pose": ("yolov8", "yolo11", "yolo26"), "obb": ("yolov8", "yolo11", "yolo26"), "cls": ("yolov8", "yolo11", "yolo26")}  # fmt: skip
FILES = {"yolov8": "yolov8n", "yolo11": "yolo11n", "yolo12": "yolo12n", "yolo26": "yolo26n"}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "plain": {"simplify": False},
    "dynamic": {"dynamic": True},
    "half": {"half": True},
    "opset13": {"opset": 13},
    "nms": {"nms": True},
    "ranked": {"nms": False},
}
# Beside these for every family, more for a few: (family, variant)
MORE: dict[tuple[str, str], dict[str, object]] = {
    ("yolov8", "opset20"): {"opset": 20},
    ("yolov8", "opset12-plain"): {"opset": 12, "simplify": False},
    ("yolov8", "batch4"): {"batch": 4},
    ("yolov8", "nms-dynamic"): {"nms": True, "dynamic": True, "batch": 2},
    ("yolov8", "nms-agnostic"): {"nms": True, "agnostic_nms": True},
    ("yolov8", "wide"): {"imgsz": (224, 416)},
    ("yolo11", "nms-half"): {"nms": True, "half": True},
    ("yolo11", "nms-dynamic"): {"nms": True, "dynamic": True, "batch": 2},
    ("yolo11", "dynamic-half"): {"dynamic": True, "half": True},
    ("yolo11", "dynamic-plain"): {"dynamic": True, "simplify": False},
    ("yolo11", "opset18-plain"): {"opset": 18, "simplify": False},
    ("yolo11", "wide"): {"imgsz": (224, 416)},
    ("yolo11", "batch4"): {"batch": 4},
    ("yolo26", "ranked-half"): {"nms": False, "half": True},
    ("yolo26", "ranked-dynamic"): {"nms": False, "dynamic": True},
    ("yolo26", "ranked-agnostic"): {"nms": False, "agnostic_nms": True},
    ("yolo26", "ranked-plain"): {"nms": False, "simplify": False},
    ("yolo26", "ranked-wide"): {"nms": False, "imgsz": (224, 416)},
    ("yolo26", "ranked-batch4"): {"nms": False, "batch": 4},
    ("yolo26", "ranked-agnostic-dynamic"): {"nms": False, "agnostic_nms": True, "dynamic": True},
    ("yolo26", "nms-dynamic"): {"nms": True, "dynamic": True, "batch": 2},
    ("yolov10", "ranked-half"): {"nms": False, "half": True},
    ("yolov10", "ranked-dynamic"): {"nms": False, "dynamic": True},
    ("rtdetr", "opset17"): {"opset": 17},
}  # fmt: skip
SPECIAL = {
    "yolov8/p2": ("yolov8n-p2.yaml", "detect"),
    "yolov8/p6": ("yolov8n-p6.yaml", "detect"),
    "yolov8/ghost": ("yolov8n-ghost.yaml", "detect"),
    "yolo26/p2": ("yolo26n-p2.yaml", "detect"),
    "yolov5/p6": ("yolov5n-p6.yaml", "detect"),
    "yolo12/seg": ("yolo12n-seg.yaml", "segment"),
    "yolo26/sem": ("yolo26n-sem.yaml", "semantic"),
    "yolo26/depth": ("yolo26n-depth.yaml", "depth"),
    "rtdetr/large": ("rtdetr-l.yaml", "detect"),
}
WORDS = {"seg": "segment", "pose": "pose", "obb": "obb", "cls": "classify"}


PRELOAD = (
    "ultralytics.engine.exporter", "ultralytics.models.yolo", "ultralytics.models.rtdetr",
    "ultralytics.nn.autobackend", "ultralytics.utils.export", "onnxslim", "onnxruntime.transformers.float16",
)  # fmt: skip


def entries() -> Iterator[Entry]:
    """Return all files of this library."""
    for family, config in DETECT.items():
        variants = dict(VARIANTS)
        if family not in RANKED:
            del variants["ranked"]
        if family == "rtdetr":  # its queries need neither NMS nor the old opset
            del variants["nms"], variants["opset13"]
        variants |= {variant: how for (name, variant), how in MORE.items() if name == family}
        for variant, how in variants.items():
            yield entry(f"{family}/{variant}", config, "detect", how)
    for task, families in TASKS.items():
        for family in families:
            variants = {key: VARIANTS[key] for key in ("default", "dynamic", "half")}
            if task != "cls":
                variants |= {"nms": {"nms": True}}
                variants |= {"nms-dynamic": {"nms": True, "dynamic": True, "batch": 2}}
                if family == "yolo26":
                    variants |= {"ranked": {"nms": False}}
                    variants |= {"ranked-dynamic": {"nms": False, "dynamic": True}}
            for variant, how in variants.items():
                config = f"{FILES[family]}-{task}.yaml"
                yield entry(f"{family}/{task}-{variant}", config, WORDS[task], how)
    for name, (config, task) in SPECIAL.items():
        yield entry(name, config, task, {})


def entry(name: str, config: str, task: str, how: dict[str, object]) -> Entry:
    """Return the entry of one file."""
    return Entry(f"ultralytics/{name}", partial(make, config, task, how))


def make(config: str, task: str, how: dict[str, object], file: Path) -> tuple[Reference, Arrays]:
    """Draw a model, export it, and let the package predict with the file."""
    from ultralytics import RTDETR, YOLO, __version__

    size = how.get("imgsz", SIZE)
    assert isinstance(size, tuple)
    model = YOLO(config, task=task) if "rtdetr" not in config else RTDETR(config)
    net = fresh(model, config, size)
    model.model = net
    model.model.names = dict(enumerate(NAMES)) if task not in {"depth"} else model.model.names
    model.ckpt = {"model": net}
    given = {"imgsz": list(size), "verbose": False} | how
    if how.get("nms"):
        given |= {"conf": SCORE, "iou": IOU, "max_det": MOST}
    written = Path(model.export(format="onnx", **given))
    shutil.move(written, file)

    picture = file.with_suffix(".png")
    draw.photo(size).save(picture)
    words = ", ".join(f"{key}={value}" for key, value in how.items())
    reference = Reference(
        library=f"ultralytics {__version__}",
        task={"depth": "other"}.get(task, task),
        size=size,
        call=f"YOLO({config!r}).export(format='onnx'{', ' if words else ''}{words})",
        image=picture.name,
        labels=NAMES if task != "depth" else None,
        preprocess=Preprocess(stretch="rtdetr" in config or task == "classify"),
        score=SCORE,
        iou=IOU,
        max_det=MOST,
        best_class=None if how.get("nms") is False or "rtdetr" in config else True,
        tolerance=2.0 if how.get("half") else 0.5,
    )
    return with_results(reference, file, picture, how)


def with_results(reference: Reference, file: Path, picture: Path, how: dict[str, object]) -> tuple[Reference, Arrays]:  # fmt: skip
    """Return the reference with what the package's own predictor makes of the file."""
    from dataclasses import replace

    from ultralytics import RTDETR, YOLO

    if reference.task == "other":
        return reference, {}
    loaded = RTDETR(str(file)) if "rtdetr" in reference.call else YOLO(str(file), task=reference.task)  # fmt: skip
    source: object = str(picture)
    if how.get("batch"):
        source = [str(picture)] * int(str(how["batch"]))
    agnostic = bool(how.get("agnostic_nms"))
    (result, *_) = loaded.predict(source, imgsz=list(reference.size), conf=SCORE, iou=IOU, max_det=MOST, agnostic_nms=agnostic, verbose=False, save=False, batch=int(str(how.get("batch", 1))))  # fmt: skip
    arrays: Arrays = {}
    if reference.task == "classify":
        probs = result.probs.data.numpy()
        best = np.argsort(-probs)[:5]
        return replace(reference, top=[(int(i), float(probs[i])) for i in best]), {}
    if reference.task == "semantic":
        shown = result.semantic_mask if hasattr(result, "semantic_mask") else result.masks
        arrays["map"] = np.asarray(getattr(shown, "data", shown)).astype(np.uint8).squeeze()
        return reference, arrays
    boxes = result.obb if reference.task == "obb" else result.boxes
    places = boxes.xywhr if reference.task == "obb" else boxes.xyxy
    if reference.task == "segment" and result.masks is not None:
        arrays["masks"] = np.packbits(result.masks.data.numpy().astype(bool), axis=-1)
    if reference.task == "pose":
        arrays["points"] = result.keypoints.data.numpy().astype(np.float32)
    return (
        replace(
            reference,
            boxes=places.numpy().astype(float).tolist(),
            scores=boxes.conf.numpy().astype(float).tolist(),
            classes=boxes.cls.numpy().astype(int).tolist(),
        ),
        arrays,
    )


def fresh(model: object, config: str, size: tuple[int, int]) -> torch.nn.Module:
    """Return a network of the package with drawn weights, for ``NAMES``."""
    torch.manual_seed(draw.SEED)
    kind = type(model.model)  # type: ignore[attr-defined]
    net = kind(config, nc=len(NAMES), verbose=False) if "depth" not in config else model.model  # type: ignore[attr-defined]
    frames = draw.batch(size)
    net.args = model.model.args if hasattr(model.model, "args") else {}  # type: ignore[attr-defined]
    net.task = model.task  # type: ignore[attr-defined]
    head = net.model[-1]
    draw.settle(net, lambda: net(frames))
    net.eval()
    if type(head).__name__ == "RTDETRDecoder":
        settle_queries(net, head, frames)
        return net
    if type(head).__name__ == "Classify":
        with torch.no_grad():
            head.linear.weight *= 30
        return net
    if type(head).__name__ in {"SemanticSegment", "Depth"}:
        return net
    for prefix in ("", "one2one_"):
        if getattr(head, f"{prefix}cv2", None) is not None:
            settle_head(net, head, frames[:1], prefix)
    return net


def settle_head(net: torch.nn.Module, head: torch.nn.Module, frame: torch.Tensor, prefix: str) -> None:  # fmt: skip
    """Spread scores, sizes, and what else the heads of a detector put out."""

    def lasts(name: str) -> list[torch.nn.Module]:
        branch = getattr(head, f"{prefix}{name}", None)
        if branch is None:
            return []
        return [each[-1] if isinstance(each, torch.nn.Sequential) else each for each in branch]

    def forward() -> object:
        return net(frame)

    draw.spread(lasts("cv3"), forward, 1.5, best=90)
    # Distances are in cells. A few are negative, as in trained models, but no box is.
    if head.reg_max == 1:
        draw.spread(lasts("cv2"), forward, 1.6, mean=4.0)
    else:
        draw.spread(lasts("cv2"), forward, 2.0, mean=0.0)
    for name in ("cv4_kpts", "cv4"):
        convs = [each for each in lasts(name) if isinstance(each, torch.nn.Conv2d)]
        if convs:
            draw.spread(convs, forward, 1.0, mean=0.0)


def settle_queries(net: torch.nn.Module, head: torch.nn.Module, frames: torch.Tensor) -> None:
    """Spread the queries of RT-DETR: a fresh one has the same box in every layer."""

    def forward() -> object:
        return net(frames[:1])

    for box in [head.enc_bbox_head, *head.dec_bbox_head]:
        torch.nn.init.normal_(box.layers[-1].weight, std=0.02)
    draw.spread([head.enc_score_head], forward, 1.5, mean=-3.0)
    draw.spread([head.dec_score_head[-1]], forward, 1.2, best=60)
