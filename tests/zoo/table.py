"""Write the table of the zoo (docs/zoo.md), and a list of what failed, sorted by the kind of failure.

python -m tests.zoo.table FOLDER RESULTS [--out docs/zoo.md] [--failures FILE]
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.zoo.check import ROOT, Row, digest_of, read, reference_of
from tests.zoo.reference import Reference

PRECISIONS = ("fp32", "fp16", "int8")
SAME = ("objects", "extras", "classes", "map", "outputs")
WRITTEN = ("kind", "labels", "size", "preprocess", "lint")

HEAD = """# The zoo

Files that the exporters of the field write, and what trtforge makes of them. `make zoo` exports them with the libraries
themselves, checks each, and writes this page; the files are not part of this repository. Weights are drawn (with a seed),
since no registry has trained ones, but for the packages that bring theirs: batch normalization takes its statistics
from photographs, and the last layers are scaled so that scores differ and some lie above the threshold.

Every file is given to trtforge with no other options than thresholds, and those that its row names. The columns:

| column | yes means |
|---|---|
| seen as | what `patch --list` says of the file |
| same | boxes, scores and classes of `trtforge detect`, and masks, key points, angles, best classes or maps out of the graph, are those of the library's own post-processing on one image |
| preview | `deepstream preview` shows the library's objects |
| written | the kind of the network, labels, size and preprocessing in the folder are the library's, and `deepstream lint` finds nothing |
| ORT | FP32 and INT8 build for ONNX Runtime |
| RTX | FP32, FP16 and INT8 build for the RTX 4090 |
| raw | TensorRT-RTX builds the untouched file |

A dot is a check that does not apply, `-` a step that was not reached. **Parity** is broken where the raw file builds and one of ours does not.
"""


def main(folder: Path, results: Path, out: Path, failures: Path | None) -> None:
    """Write the page, and the failures."""
    names = sorted(
        str(file.relative_to(results / "rows").with_suffix(""))
        for file in (results / "rows").rglob("*.json")
    )
    rows = [row for name in names if (row := read(results, name)) is not None]
    rows = [row for row in rows if (folder / f"{row.name}.json").exists()]
    references = {row.name: reference_of(folder, row.name) for row in rows}
    lost = sorted(file for file in folder.rglob("*.failed"))
    out.write_text(page(folder, rows, references, lost))
    if failures:
        failures.write_text(failing(folder, rows, references))


def page(folder: Path, rows: Sequence[Row], references: dict[str, Reference], lost: Sequence[Path]) -> str:  # fmt: skip
    """Return the page."""
    code = digest_of([ROOT / "trtforge", ROOT / "recipes"], ("*.py", "*.yaml"))
    older = sum(row.commit != code and not failures_of(row) for row in rows)
    lines = [HEAD, "## Counts", "", *counts(rows, references), ""]
    if older:
        lines += [f"{older} rows are right ones of an earlier state of the code, and were not run again.", ""]  # fmt: skip
    families: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        families[row.name.rsplit("/", 1)[0]].append(row)
    lines += ["## Files", ""]
    for family, members in families.items():
        libraries = sorted({references[row.name].library for row in members})
        lines += [f"### {family} ({', '.join(libraries)})", ""]
        lines += ["| file | seen as | same | preview | written | ORT | RTX | raw |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        lines += [line(row, references[row.name]) for row in members]
        lines += notes(members, references)
        lines.append("")
    if lost:
        lines += ["## Not exported", "", "What the library itself did not write here:", ""]
        for file in lost:
            name = file.relative_to(folder).with_suffix("")
            (*_, why) = file.read_text().strip().splitlines()
            lines.append(f"- {name}: {plain(why)[:200]}")
        lines.append("")
    return "\n".join(lines)


def counts(rows: Sequence[Row], references: dict[str, Reference]) -> list[str]:
    """Return the table of counts."""

    def share(name: str, fits: Sequence[bool]) -> str:
        return f"| {name} | {sum(fits)} | {len(fits)} |"

    detectors = [row for row in rows if "objects" in row.steps or is_detector(references[row.name])]
    refused = [row for row in rows if references[row.name].refused]
    taken = [row for row in rows if not references[row.name].refused]
    raws = [row for row in taken if not row.raw]
    return [
        "| of the files | are | of |",
        "|---|---|---|",
        share("detectors recognised", [passed(row, "kind") is True for row in detectors]),
        share("refused with the right reason, of those that can't be taken", [passed(row, "refusal") is True for row in refused]),
        share("boxes, masks, points, classes, maps: the library's", [all_passed(row, SAME) is True for row in taken]),
        share("the same in the preview", [bool(passed(row, "preview")) for row in rows if passed(row, "preview") is not None]),
        share("labels, size, preprocessing right, lint clean", [all_passed(row, WRITTEN) is True for row in taken]),
        share("FP32 and INT8 build for ONNX Runtime", [all_passed(row, ("build onnxruntime", "int8 onnxruntime")) is True for row in taken]),
        share("TensorRT-RTX builds the untouched file", [not row.raw for row in rows]),
        share("parity: of those, FP32, FP16 and INT8 build from ours, too", [parity(row) for row in raws]),
        share("nothing failed at all", [not failures_of(row) for row in rows]),
    ]  # fmt: skip


def is_detector(reference: Reference) -> bool:
    return reference.task in {"detect", "segment", "pose", "obb"} and not reference.refused


def passed(row: Row, step: str) -> bool | None:
    """Return whether a step passed; None where it was not run."""
    return row.steps[step][0] if step in row.steps else None


def all_passed(row: Row, steps: Sequence[str]) -> bool | None:
    """Return whether all steps that were run passed; None where none was."""
    known = [each for step in steps if (each := passed(row, step)) is not None]
    return all(known) if known else None


def parity(row: Row) -> bool:
    """Tell whether ours builds wherever the raw file builds."""
    return bool(row.raw) or all(passed(row, f"{each} rtx") for each in PRECISIONS)


def failures_of(row: Row) -> list[tuple[str, str]]:
    """Return (step, note) of what failed; RTX builds count only where the raw file builds."""
    found = [
        (step, note)
        for step, (ok, note) in row.steps.items()
        if not ok and not (step.endswith(" rtx") and row.raw)
    ]
    return found + ([("stopped", row.stopped)] if row.stopped else [])


def mark(value: bool | None, reached: bool = True) -> str:
    if value is None:
        return "." if reached else "-"
    return "yes" if value else "**no**"


def line(row: Row, reference: Reference) -> str:
    """Return the row of a file."""
    built = passed(row, "build onnxruntime") is True
    rtx = [mark(passed(row, f"{each} rtx"), False) for each in PRECISIONS]
    same = "/".join(f"{mark(passed(row, step))}" for step in SAME if step in row.steps) or mark(None, False)  # fmt: skip
    cells = [
        row.name.rsplit("/", 1)[1],
        plain(row.recognised)[:60],
        same if len(set(same.split("/"))) > 1 else same.split("/")[0],
        mark(passed(row, "preview"), built),
        mark(all_passed(row, WRITTEN), built),
        mark(all_passed(row, ("build onnxruntime", "int8 onnxruntime")), False),
        rtx[0] if len(set(rtx)) == 1 else "/".join(rtx),
        "yes" if not row.raw else "no",
    ]
    return "| " + " | ".join(cells) + " |"


def notes(rows: Sequence[Row], references: dict[str, Reference]) -> list[str]:
    """Return what the marks of a family leave open, equal ones once."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        reference, name = references[row.name], row.name.rsplit("/", 1)[1]
        given = options(reference)
        if given:
            found[f"given: {given}"].append(name)
        if reference.refused:
            found[
                f"refused: {plain(row.steps['refusal'][1])}"
                if "refusal" in row.steps
                else "not refused"
            ].append(name)
        if row.raw:
            found[f"raw: {plain(row.raw)[:160]}"].append(name)
        for step, note in failures_of(row):
            found[f"{step}: {plain(note)[:240]}"].append(name)
    return ["", *(f"- {', '.join(names)}: {note}" for note, names in found.items())] if found else []  # fmt: skip


def options(reference: Reference) -> str:
    """Return the options that the file was given, as on the command line."""
    given = reference.options
    words = [
        f"--recipe {given.recipe}" if given.recipe else "",
        f"--size {given.size}" if given.size else "",
        "--labels names.txt" if given.labels else "",
    ]
    return " ".join(word for word in words if word)


def plain(text: str) -> str:
    """Return text that can stand in a cell, without names of folders of this machine."""
    text = re.sub(r"/\S*/", "", text)
    return text.replace("|", "/").replace("\n", " ").strip()


def failing(folder: Path, rows: Sequence[Row], references: dict[str, Reference]) -> str:
    """Return the list of failures: a section for each kind, a line for each file."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for step, note in failures_of(row):
            kind = re.sub(r"[\d.]+", "N", re.sub(r"['\"/].*", "", note))[:60]
            given = options(references[row.name])
            kinds[f"{step}: {kind}"].append(f"{folder / row.name}.onnx {given}: {note[:400]}")
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    total = Counter(bool(failures_of(row)) for row in rows)
    lines = [f"# Failures: {total[True]} of {len(rows)} files", ""]
    for kind, members in ordered:
        lines += [f"## {len(members)} x {kind}", "", *(f"- {each}" for each in members), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/zoo.md")
    parser.add_argument("--failures", type=Path)
    given = parser.parse_args()
    main(given.folder.resolve(), given.results.resolve(), given.out, given.failures)
