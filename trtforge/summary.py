"""What a run says in the end: a short table, a plan, or one JSON document."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.evaluate.verification import Verification
from trtforge.pipeline import Built
from trtforge.store import Store, to_json

if TYPE_CHECKING:
    from trtforge.stages.detect import Detections
    from trtforge.stages.patch import FloatFeed, FrameFeed, Listing
    from trtforge.sweeping.rows import Row, Swept
    from trtforge.tuning import Tuned

SHOWN = 12  # operators
REASON = 100  # letters


def document(store: Store, built: Sequence[Built]) -> dict[str, Any]:
    """Everything a script may want to know."""
    return {
        "stages": [
            {
                "stage": each.stage,
                "cached": each.cached,
                "why": each.why,
                "seconds": round(each.seconds, 3),
                "facts": {} if each.planned else to_json(each.facts),
            }
            for each in store.ran
        ],
        "outputs": [
            {
                "folder": str(each.out),
                "backend": each.target.backend,
                "device": each.target.device.name if each.target.device else None,
                "written": each.wrote,
                "engine": to_json(each.engine.facts) if each.engine else None,
                "remarks": each.remarks,
            }
            for each in built
        ],
    }


def plan(store: Store) -> str:
    """The stages in order, and why each would run."""
    rows = [[each.stage, "cached" if each.cached else "would run", each.why] for each in store.ran]
    return present.table(rows, ["stage", "", "why"])


def text(store: Store, built: Sequence[Built]) -> str:
    """What ran, what was skipped on the way, and what lies where."""
    lines = []
    made = [each for each in store.ran if not each.cached]
    rows = [
        [
            each.stage,
            "cached" if each.cached else f"{each.seconds:.1f} s",
            each.summary,
        ]
        for each in store.ran
    ]
    lines += [present.table(rows, ["stage", "time", "result"]), ""]
    lines += [
        f"  {remark}"
        for remark in dict.fromkeys(remark for each in built for remark in each.remarks)
    ]
    for each in built:
        state = (
            "" if each.wrote else "  (unchanged: nothing to do)" if not made else "  (unchanged)"
        )
        lines.append(f"{each.out}/{state}")
    return "\n".join(lines)


def verified(report: Verification, find_worst: bool) -> str:
    """Figures for people: outputs, boxes, accuracy, layers."""
    lines = []
    if report.outputs:
        rows = [
            [
                name,
                f"{each.pearson:.6f}",
                f"{each.cosine:.6f}",
                f"{each.sqnr:.1f}",
                f"{each.largest:.4g}",
                f"{each.mean:.4g}",
            ]
            for name, each in report.outputs.items()
        ]
        lines += [
            present.table(
                rows, ["output", "Pearson", "cosine", "SQNR dB", "max error", "mean error"]
            ),
            "",
        ]
    if report.layers and not find_worst:
        rows = [
            [
                each.tensor,
                f"{each.difference.pearson:.5f}",
                f"{each.difference.sqnr:.1f}",
                f"{100 * each.added:.2f}",
            ]
            for each in report.layers
        ]
        lines += [
            present.table(rows, ["activation, in order", "Pearson", "SQNR dB", "% noise added"]),
            "",
        ]
    if report.layers and find_worst:
        worst = max(report.layers, key=lambda each: each.added)
        lines += [
            f"most noise is added at {worst.node}: {100 * worst.added:.2f} % of the signal",
            "",
        ]
    if report.accuracy:
        columns = [report.accuracy, *report.more.values()]
        lost = ["", *(f"{drop:.2f}" for drop in report.drops)]
        chance = ["", *(f"{low:.2f} to {high:.2f}" for low, high in report.intervals)] + [""] * len(
            report.engines
        )
        rows = [
            [engine, *(f"{column[index]:.4f}" for column in columns), lost[index], chance[index]]
            for index, engine in enumerate(report.engines)
        ]
        header = [
            "engine",
            report.metric,
            *report.more,
            "points lost" if report.drops else "",
            "95 % interval" if report.intervals else "",
        ]
        lines += [present.table(rows, header), ""]
    if report.agreement:
        both, either = report.agreement
        lines += [f"{both} of {either} objects are found by both (score 0.25, IoU 0.5)"]
    lines += [
        f"{report.images} images",
        *(f"  {remark}" for remark in [*report.broken, *report.remarks]),
    ]
    return "\n".join(lines)


def tuned(found: Tuned, max_drop: float, out: Path, picture: Path) -> str:
    """The operators that matter, what was tried, and the choice."""
    lines = []
    if found.blocks:
        kept = set(found.keep)
        rows = [
            [
                block.name,
                f"{block.share:.2%}",
                f"{block.alone:.3g}",
                f"{block.saved:.3g}",
                "float" if block.name in kept else "",
            ]
            for block in found.blocks[: max(SHOWN, len(kept))]
        ]
        lines += [
            present.table(rows, ["operator", "of MACs", "harm alone", "harm saved", "chosen"]),
            "",
        ]
    rows = [
        [str(each.kept), f"{each.share:.1%}", f"{each.drop:.2f}"]
        for each in sorted(found.trials, key=lambda trial: trial.kept)
    ]
    lines += [
        present.table(rows, ["operators float", "MACs in INT8", "points lost (searched half)"]),
        "",
    ]
    low, high = found.interval
    lines += [
        f"{found.metric} on the other half: {found.accuracy[0]:.4f} float, {found.accuracy[1]:.4f} chosen: "
        f"{found.drop:.2f} points lost (95 % interval {low:.2f} to {high:.2f})",
        f"{out}: {len(found.keep)} operators float, {found.share:.1%} of the MACs in INT8",
        f"{picture}: what was measured, accuracy against MACs in INT8",
    ]
    if high - low > 2 * max_drop:
        lines.append(
            f"the interval is wider than the budget of {max_drop}: more images would tell more"
        )
    return "\n".join(lines)


def swept(found: Swept, made: Sequence[Path]) -> str:
    """A row for each engine, without the columns that say nothing."""
    from trtforge.sweeping.rows import mib

    def amount(value: int | None) -> str:
        return "" if value is None else present.size(value)

    rows, some = found.rows, [row for row in found.rows if not row.why_not]
    columns: list[tuple[str, Callable[[Row], str], bool]] = [
        ("#", lambda row: f"{row.number}{' *' if row.front else ''}", True),
        ("precision", lambda row: row.cell.precision, True),
        ("batch", lambda row: str(row.cell.batch), True),
        (
            "level",
            lambda row: str(row.cell.opt_level),
            any(row.cell.opt_level is not None for row in rows),
        ),
        ("workspace", lambda row: mib(row.cell.workspace), any(row.cell.workspace for row in rows)),
        (
            "build",
            lambda row: (
                "not built"
                if row.why_not
                else f"{row.build_seconds:.1f} s" + (", stored" if row.cached else "")
            ),
            True,
        ),
        ("engine", lambda row: amount(row.engine_bytes), bool(some)),
        (
            "activations",
            lambda row: amount(row.activation_bytes),
            any(row.activation_bytes for row in some),
        ),
        (
            "of it scratch",
            lambda row: amount(row.scratch_bytes),
            any(row.scratch_bytes for row in some),
        ),
        (
            "latency ms",
            lambda row: "" if row.latency_ms is None else f"{row.latency_ms:.3f}",
            any(row.latency_ms is not None for row in some),
        ),
        (
            "images/s",
            lambda row: "" if row.images_per_second is None else f"{row.images_per_second:.1f}",
            any(row.latency_ms is not None for row in some),
        ),
        (
            found.metric,
            lambda row: "" if row.accuracy is None else f"{row.accuracy:.4f}",
            bool(found.metric),
        ),
        (
            "points lost",
            lambda row: "" if row.lost is None else f"{row.lost:.2f}",
            bool(found.metric),
        ),
        (
            "",
            lambda row: (
                _shortened(row.why_not) or (f"same bytes as #{row.same_as}" if row.same_as else "")
            ),
            True,
        ),
    ]
    shown = [column for column in columns if column[2]]
    lines = [
        f"{found.model}: {found.backend}, {found.device}",
        "",
        present.table(
            [[value(row) for _, value, _ in shown] for row in rows], [name for name, _, _ in shown]
        ),
        "",
        "  * on the front",
        *(f"  {remark}" for remark in found.remarks),
    ]
    return "\n".join([*lines, *map(str, made)])


def _shortened(why: str) -> str:
    """The builder's own words without where in its sources it says them; the whole is in the JSON."""
    said = re.sub(r"\[\w+\.cpp:\S* ?\w*\] ?", "", why.partition("the builder says: ")[2] or why)
    return said if len(said) <= REASON else f"{said[: REASON - 1]}…"


def detected(found: Detections, out: Path) -> str:
    """A line for each object."""
    rows = [
        [
            picture.image.name,
            item.name,
            f"{item.score:.2f}",
            " ".join(f"{side:.0f}" for side in item.box),
        ]
        for picture in found.pictures
        for item in picture.objects
    ]
    header = ["image", "class", "score", "left top right bottom"]
    shown = present.table(rows, header) if rows else "nothing found"
    sheet = f", {found.sheet}" if found.sheet else ""
    return "\n".join([shown, "", *found.remarks, f"{out}/: {len(found.pictures)} pictures{sheet}"])


def listed(found: Listing) -> str:
    """What a graph holds, what its outputs are taken for, and the patches that a recipe may list."""
    from trtforge.patches import KINDS

    rows = [
        [tensor.kind, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape))]
        for tensor in found.tensors
    ]
    lines = [present.table(rows, ["", "name", "type", "shape"]), ""]
    if found.nms:
        lines.append(f"NMS inside: {found.nms}")
    elif found.detection:
        lines.append(f"detector, {found.detection.sure}: {found.detection.why}")
    lines += [f"may be: {guess.why}; what decides: {guess.ask}" for guess in found.likely]
    if found.other:
        lines.append(f"no boxes: {found.other}")
    lines += [f"{found.nodes} nodes, opset {found.opset}", "", "patches that a recipe may list:"]
    for kind in KINDS:
        fields = ", ".join(name for name in kind.model_fields if name != "patch")
        purpose = (kind.__doc__ or "").split("\n")[0]
        lines.append(f"  {kind.__name__.lower():10}{fields:22}{purpose}")
    return "\n".join(lines)


def feed(found: FloatFeed | FrameFeed) -> str:
    """What a patched graph takes, in words."""
    if found.dtype == "uint8":
        return "takes uint8 NHWC frames, RGB"
    steps = f"{found.scale:.6g} * pixel"
    if any(found.offsets):
        steps = f"{found.scale:.6g} * (pixel - {list(found.offsets)})"
    std = f" / {list(found.std)}" if found.std else ""
    return f"takes {steps}{std}, {found.color.upper()}"
