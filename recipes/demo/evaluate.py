"""Mean average precision of a detector ONNX on a folder of COCO-labelled scenes: an independent
check on the product.

    python recipes/demo/evaluate.py recipes/demo/demo.onnx DIR

DIR holds labels.json and the images.

Uses onnxruntime, numpy, Pillow and pycocotools only. Letterbox: aspect kept, bilinear, black bars
on both sides, RGB divided by 255. Detections: scores above 0.001 (every class of an anchor counts),
per-class NMS at IoU 0.65, at most 300 an image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, SCORE, IOU, MOST = 640, 0.001, 0.65, 300


def letterbox(image: Image.Image) -> tuple[np.ndarray, float, int, int]:
    """The picture (SIZE, SIZE, 3) uint8, its scale, and the widths of the left and top bars in
    pixels.
    """
    scale = min(SIZE / image.width, SIZE / image.height)
    w, h = round(image.width * scale), round(image.height * scale)
    left, top = (SIZE - w) // 2, (SIZE - h) // 2
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    canvas[top : top + h, left : left + w] = np.asarray(
        image.convert("RGB").resize((w, h), Image.Resampling.BILINEAR)
    )
    return canvas, scale, left, top


def network_input(canvas: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 -> (1, 3, SIZE, SIZE) float32 in 0..1."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


def suppress(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression of (K, 4) x0, y0, x1, y1 boxes; indices kept, best first."""
    order, kept = scores.argsort(kind="stable")[::-1], []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size and len(kept) < MOST:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        wh = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(
            boxes[best, :2], boxes[rest, :2]
        )
        inter = np.maximum(wh, 0).prod(1)
        order = rest[inter <= IOU * (area[best] + area[rest] - inter)]
    return kept


def detect(output: np.ndarray) -> np.ndarray:
    """One image's output (4 + C, A) -> detections (K, 6): x0, y0, x1, y1 in network pixels, score,
    class.
    """
    cx, cy, w, h = output[:4].astype(np.float64)
    corners = np.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), 1)
    found = []
    for label, scores in enumerate(output[4:]):
        above = np.flatnonzero(scores > SCORE)
        keep = above[suppress(corners[above], scores[above])]
        found.append(np.column_stack((corners[keep], scores[keep], np.full(len(keep), label))))
    rows = np.concatenate(found)
    return rows[rows[:, 4].argsort(kind="stable")[::-1][:MOST]]


def coco_map(labels: dict, results: list[dict]) -> tuple[float, float]:
    """mAP50-95 and mAP50 by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        return 0.0, 0.0
    with contextlib.redirect_stdout(None):
        truth = COCO()
        truth.dataset = labels
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.params.maxDets = [1, 100, MOST]
        run.evaluate()
        run.accumulate()
    # Shape (IoU thresholds, recalls, classes), at 300 detections.
    precision = run.eval["precision"][:, :, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    return float(np.nanmean(precision)), float(np.nanmean(precision[0]))


def evaluate(
    predict: Callable[[np.ndarray], np.ndarray], folder: Path, limit: int | None = None
) -> tuple[float, float]:
    """mAP50-95 and mAP50 on the labelled images of `folder`; `predict`: (1, 3, 640, 640) float32 ->
    (1, 4 + C, A).
    """
    labels = json.loads((folder / "labels.json").read_text())
    labels["images"] = labels["images"][:limit]
    ids = {entry["id"] for entry in labels["images"]}
    labels["annotations"] = [a for a in labels["annotations"] if a["image_id"] in ids]
    results = []
    for entry in labels["images"]:
        canvas, scale, left, top = letterbox(Image.open(folder / entry["file_name"]))
        rows = detect(predict(network_input(canvas))[0])
        corners = (rows[:, :4] - (left, top, left, top)) / scale
        corners = corners.clip(0, (entry["width"], entry["height"]) * 2)
        boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1).tolist()
        for box, score, label in zip(boxes, rows[:, 4].tolist(), rows[:, 5].tolist(), strict=True):
            results.append(
                {"image_id": entry["id"], "category_id": int(label), "bbox": box, "score": score}
            )
    return coco_map(labels, results)


def onnx_predictor(path: Path | str, threads: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["output0"], {"images": images})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help="use the first images only")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    strict, loose = evaluate(onnx_predictor(args.onnx, args.threads), args.folder, args.limit)
    print(f"mAP50-95 {strict:.4f}  mAP50 {loose:.4f}")


if __name__ == "__main__":
    main()
