"""All checks of one file, each in a call of trtforge's Python API; the result is written after every step.

python -m tests.zoo.one MODEL.onnx RESULT.json PHOTOS SCRATCH
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import trtforge
from tests.zoo import compare
from tests.zoo.compare import Finding, Objects
from tests.zoo.reference import Arrays, Reference, load

DEVICE = "rtx-4090"


@dataclass
class Result:
    """What came of one file, step by step."""

    recognised: str = ""
    doing: str = ""
    steps: dict[str, Finding] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class Subject:
    """The file that is checked."""

    model: Path
    reference: Reference
    arrays: Arrays
    photos: Path
    scratch: Path

    @property
    def image(self) -> Path:
        return self.model.with_name(self.reference.image)

    @property
    def bundle(self) -> Path:
        return self.scratch / "ort"


def main(model: Path, file: Path, photos: Path, scratch: Path) -> None:
    """Run every step; one that trtforge refuses has its message for a note."""
    reference, arrays = load(model)
    subject = Subject(model, reference, arrays, photos, scratch)
    result = Result()
    detector = reference.task in {"detect", "segment", "pose", "obb"}

    def step(name: str, function: Callable[[], Finding]) -> bool:
        began = time.monotonic()
        result.doing = name
        result.write(file)
        try:
            finding = function()
        except trtforge.ForgeError as error:
            hint = f" ({error.hint})" if error.hint else ""
            finding = Finding(False, f"refused: {error.problem}{hint}")
        except Exception as error:  # a fault of trtforge is a row of the table, too
            finding = Finding(False, f"traceback: {type(error).__name__}: {error}")
        result.steps[name] = finding
        result.seconds[name] = round(time.monotonic() - began, 1)
        result.doing = ""
        result.write(file)
        return finding.ok

    if reference.refused:
        step("refusal", lambda: refusal(subject))
        return
    step("listed", lambda: listed(subject, result))
    if step("build onnxruntime", lambda: build(subject, "fp32", "ort")):
        step("kind", lambda: kind(subject))
        if detector:
            step("objects", lambda: objects(subject))
            if reference.task != "detect":
                step("extras", lambda: extras(subject))
            if reference.task != "obb":
                step("preview", lambda: preview(subject))
        elif reference.top:
            step("classes", lambda: classes(subject))
        elif "map" in arrays:
            step("map", lambda: pixels(subject))
        else:
            step("outputs", lambda: outputs(subject))
        if reference.labels:
            step("labels", lambda: labels(subject))
        step("size", lambda: size(subject))
        if reference.preprocess:
            step("preprocess", lambda: preprocess(subject))
        step("lint", lambda: lint(subject))
    step("int8 onnxruntime", lambda: build(subject, "int8", "ort-int8"))
    for precision in ("fp32", "fp16", "int8"):
        step(f"{precision} rtx", lambda precision=precision: build(subject, precision, "rtx"))  # type: ignore[misc]


def listed(subject: Subject, result: Result) -> Finding:
    """Note what ``patch --list`` says of the file."""
    listing = trtforge.describe_graph(subject.model)
    found = listing.detection
    if found:
        result.recognised = f"{found.form}, {found.sure}"
        return Finding(True, found.why)
    result.recognised = listing.other or ("NMS inside" if listing.nms else "no detector")
    return Finding(True, result.recognised)


def refusal(subject: Subject) -> Finding:
    """Tell whether the file is refused, and with the words that say why."""
    try:
        build(subject, "fp32", "ort")
    except trtforge.ForgeError as error:
        return Finding(
            subject.reference.refused in error.problem, f"{error.problem} ({error.hint})"
        )
    return Finding(False, "the file was built")


def build(subject: Subject, precision: str, name: str) -> Finding:
    """Build for ONNX Runtime or the RTX 4090, with the options that a user would give."""
    reference = subject.reference
    given = reference.options
    labels = None
    if given.labels and reference.labels:
        labels = subject.scratch / "names.txt"
        labels.write_text("\n".join(reference.labels) + "\n")
    nms = trtforge.Nms()
    if reference.boxes:
        best = reference.best_class
        nms = trtforge.Nms(
            score=reference.score, iou=reference.iou, max_det=reference.max_det, best_class=best
        )
    out = subject.scratch / name
    shutil.rmtree(out, ignore_errors=True)
    precisions = {
        "fp32": trtforge.Fp32(),
        "fp16": trtforge.Fp16(),
        "int8": trtforge.Int8(calib=subject.photos),
    }
    built = trtforge.build(
        subject.model,
        precision=precisions[precision],
        device=DEVICE if name == "rtx" else (),
        backend="tensorrt-rtx" if name == "rtx" else "onnxruntime",
        recipe=given.recipe,
        size=given.size,
        labels=labels,
        nms=nms,
        out=out,
    )
    return Finding(True, "; ".join(built.outputs[0].remarks))


def settings(subject: Subject) -> dict[str, str]:
    """Return the keys of nvinfer's configuration."""
    text = (subject.bundle / "pgie_config.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)=(.*)$", text, re.MULTILINE))


def kind(subject: Subject) -> Finding:
    """Tell whether the configuration takes the network for what the library says that it is."""
    network = settings(subject)["network-type"]
    right = {
        "detect": {"0"},
        "segment": {"0", "3"},
        "pose": {"0"},
        "classify": {"1"},
        "semantic": {"2"},
        "other": {"100", "2"},  # a map of one channel may be taken for a mask
    }
    task = subject.reference.task
    return Finding(network in right.get(task, {"100"}), f"network-type={network} for {task}")


def graph_outputs(subject: Subject, model: Path) -> dict[str, NDArray[np.float64]]:
    """Return what ONNX Runtime makes of the image, prepared as the configuration says."""
    import onnxruntime as ort

    words = settings(subject)
    pixels = np.asarray(Image.open(subject.image).convert("RGB"), np.float32)
    offsets = [float(each) for each in words.get("offsets", "0;0;0").strip(";").split(";")]
    tensor = (pixels - offsets) * float(words["net-scale-factor"])
    if words.get("model-color-format", "0") == "1":
        tensor = tensor[..., ::-1]
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (entry, *_) = session.get_inputs()
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    kinds = {"tensor(float16)": np.float16, "tensor(float)": np.float32}
    feed = tensor.transpose(2, 0, 1)[None].repeat(batch, 0).astype(kinds[entry.type])
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {entry.name: feed})
    return {name: value.astype(np.float64) for name, value in zip(names, values, strict=True)}


def ready(subject: Subject) -> Path:
    """Return the graph of the ONNX Runtime bundle."""
    (*_, last) = sorted(subject.bundle.glob("*.onnx"), key=lambda file: file.name.endswith(".ort.onnx"))  # fmt: skip
    return last


def objects(subject: Subject) -> Finding:
    """Compare ``trtforge detect`` with the library, class names too."""
    reference = subject.reference
    if reference.task == "obb":  # detect draws upright boxes: turned ones are among the extras
        return extras(subject)
    found = trtforge.detect(
        subject.bundle,
        subject.image,
        subject.scratch / "pictures",
        score=reference.score,
        max_det=reference.max_det,
    )
    shown = found.pictures[0].objects
    names = reference.labels
    wrong = names and [each.name for each in shown if names[each.label] != each.name]
    ours = seen(subject, [(each.box, each.score, each.label) for each in shown])
    finding, _ = compare.same_objects(reference, ours, reference.tolerance + 0.1)
    if finding.ok and wrong:
        return Finding(False, f"boxes are right, but called {wrong[0]!r}")
    return finding


def seen(subject: Subject, rows: Sequence[tuple[Sequence[float], float, int]]) -> Objects:
    """Return objects within the image; Ultralytics leaves out those of whose mask no pixel is set."""
    reference = subject.reference
    boxes = np.asarray([box for box, _, _ in rows], float).reshape(-1, 4)
    scores = np.asarray([score for _, score, _ in rows], float)
    labels = np.asarray([label for _, _, label in rows], np.int64)
    ours = Objects(compare.clipped(boxes, reference.size), scores, labels)
    if reference.task != "segment":
        return ours
    made, coefficients, prototypes = masked(subject)
    pairs = compare.pairs(made, ours, 1.6, 1e-3)
    empty = [
        mine
        for index, mine in pairs
        if not compare.mask_of(made.boxes[index], coefficients[index], prototypes, reference.size).any()
    ]  # fmt: skip
    left = np.delete(np.arange(len(ours)), empty)
    return Objects(ours.boxes[left], scores[left], labels[left])


def kept(subject: Subject) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Return the outputs of the ready graph, and the rows that hold objects above the threshold."""
    values = graph_outputs(subject, ready(subject))
    count = int(values["num_detections"].flat[0])
    return values, np.flatnonzero(values["detection_scores"][0, :count] >= subject.reference.score)


def masked(subject: Subject) -> tuple[Objects, NDArray[np.float64], NDArray[np.float64]]:
    """Return the objects in the graph's outputs, their coefficients, and the prototypes of masks."""
    values, rows = kept(subject)
    boxes, scores, labels = (values[f"detection_{each}"][0, rows] for each in ("boxes", "scores", "classes"))  # fmt: skip
    (name,) = [each for each in values if not each.startswith(("num_", "detection_"))]
    ours = Objects(compare.clipped(boxes, subject.reference.size), scores, labels.astype(np.int64))
    return ours, values["detection_coefficients"][0, rows], values[name][0]


def extras(subject: Subject) -> Finding:
    """Compare masks, points or turned boxes, which follow the boxes in the graph's outputs."""
    reference = subject.reference
    if reference.task == "segment":
        ours, coefficients, prototypes = masked(subject)
        _, matched = compare.same_objects(reference, ours, reference.tolerance)
        return compare.same_masks(
            subject.arrays, coefficients, prototypes, ours, matched, reference.size
        )
    values, rows = kept(subject)
    boxes, scores = values["detection_boxes"][0, rows], values["detection_scores"][0, rows]
    labels = values["detection_classes"][0, rows].astype(np.int64)
    if reference.task == "obb":
        angle = values["detection_angle"][0, rows]
        centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        turned = compare.corners(np.concatenate([centre, sides, angle], -1))
        return compare.same_objects(
            reference, Objects(turned, scores, labels), 2 * reference.tolerance
        )[0]
    ours = Objects(compare.clipped(boxes, reference.size), scores, labels)
    _, matched = compare.same_objects(reference, ours, reference.tolerance)
    return compare.same_points(
        subject.arrays,
        values["detection_keypoints"][0, rows],
        matched,
        reference.size,
        2 * reference.tolerance,
    )


def preview(subject: Subject) -> Finding:
    """Compare what DeepStream will show with the library; nvinfer ends boxes a pixel before the border."""
    reference = subject.reference
    shown = trtforge.deepstream_preview(subject.bundle, subject.image, subject.scratch / "preview")
    found = shown.pictures[0].objects
    ours = seen(subject, [(each.box, each.score, each.label) for each in found])
    return compare.same_objects(reference, ours, reference.tolerance + 1.1)[0]


def classes(subject: Subject) -> Finding:
    """Compare the best classes."""
    (value, *_) = graph_outputs(subject, ready(subject)).values()
    return compare.same_classes(subject.reference, value)


def pixels(subject: Subject) -> Finding:
    """Compare the classes of pixels."""
    (value, *_) = graph_outputs(subject, ready(subject)).values()
    return compare.same_map(subject.arrays["map"], value)


def outputs(subject: Subject) -> Finding:
    """Compare what the graph puts out with what the untouched file puts out."""
    ours = graph_outputs(subject, ready(subject))
    theirs = graph_outputs(subject, subject.model)
    missing = set(theirs) - set(ours)
    if missing:
        return Finding(False, f"outputs are {', '.join(ours)} instead of {', '.join(theirs)}")
    worst = max(
        float(np.abs(ours[name] - value).max() / (np.abs(value).max() + 1e-9))
        for name, value in theirs.items()
    )
    return Finding(worst < 2e-3, f"{worst:.1e} of the largest value apart")


def labels(subject: Subject) -> Finding:
    """Compare labels.txt with the library's names; a classifier's stand in one line."""
    file = subject.bundle / "labels.txt"
    if not file.exists():
        return Finding(False, "no labels.txt")
    names = [name for name in re.split(r"[;\n]", file.read_text()) if name]
    if names == subject.reference.labels:
        return Finding(True)
    return Finding(False, f"{len(names)} labels: {', '.join(names[:3])} ...")


def size(subject: Subject) -> Finding:
    """Compare the size of the network."""
    dims = settings(subject).get("infer-dims", "")
    return Finding(dims == ";".join(map(str, (3, *subject.reference.size))), dims)


def preprocess(subject: Subject) -> Finding:
    """Compare scale, offsets, deviations, order of colours and aspect ratio with the library's."""
    ours = json.loads((subject.bundle / "manifest.json").read_text())["recipe"]["preprocess"]
    theirs = subject.reference.preprocess
    assert theirs
    wrong = []
    slopes = [ours["scale"] / each for each in ours["std"] or [1, 1, 1]]
    right = [theirs.scale / each for each in theirs.std]
    # Deviations that went into the first convolution show in the results alone, which are compared, too.
    folded = ours["std"] is None and theirs.std != (1, 1, 1)
    if not np.allclose(slopes, [theirs.scale] * 3 if folded else right, rtol=2e-3):
        wrong.append(f"slopes {np.round(slopes, 5)} instead of {np.round(right, 5)}")
    if not np.allclose(ours["offsets"], theirs.offsets, atol=0.05):
        wrong.append(f"offsets {ours['offsets']} instead of {list(theirs.offsets)}")
    if ours["color"] != theirs.color:
        wrong.append(f"{ours['color']} instead of {theirs.color}")
    if (ours["letterbox"] == "none") != theirs.stretch:
        wrong.append("letterboxed instead of stretched" if theirs.stretch else "stretched instead of letterboxed")  # fmt: skip
    return Finding(not wrong, "; ".join(wrong))


def lint(subject: Subject) -> Finding:
    """Tell whether the linter is content with what trtforge has written."""
    files = [
        file
        for name in ("pgie_config.txt", "pgie_config.yml", "deepstream_app.txt")
        if (file := subject.bundle / name).exists()
    ]
    report = trtforge.lint(files)
    return Finding(
        not report.findings,
        "; ".join(f"{each.rule}: {each.why}" for each in report.findings)[:300],
    )


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(given[0], given[1], given[2], given[3])
