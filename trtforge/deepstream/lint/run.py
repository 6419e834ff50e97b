"""Lint: read files, ask every rule, write corrected lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from trtforge.deepstream.config.graph import Graph, inspect
from trtforge.deepstream.format import app_keys
from trtforge.deepstream.format.dialects import parse, read
from trtforge.deepstream.format.document import Document
from trtforge.deepstream.format.keys import PROPERTY, Value
from trtforge.deepstream.lint import (
    element,
    engine,
    outputs,
    parsers,
    paths,
    pipeline,
    preprocess,
    syntax,
    values,
)
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.report import LintReport
from trtforge.deepstream.lint.subject import Subject
from trtforge.errors import ForgeError
from trtforge.recipe import Recipe

Rule = Callable[[Subject], Iterator[Finding]]

TEXT: tuple[Rule, ...] = (*syntax.RULES, *values.RULES)
NVINFER: tuple[Rule, ...] = (
    *paths.RULES,
    *engine.RULES,
    *preprocess.RULES,
    *outputs.RULES,
    *parsers.RULES,
    *element.RULES,
)
APP: tuple[Rule, ...] = (*paths.RULES, *pipeline.RULES)

MAX_ROUNDS = 20  # one correction may lay bare another mistake; no chain of them is longer
LARGEST_ONNX = 1 << 30  # bytes; a larger graph is not opened
# Other elements' files have a group [property] too.
_OTHERS = {
    "network-input-shape": "nvdspreprocess",
    "processing-width": "nvdspreprocess",
    "config-width": "nvdsanalytics",
    "output-width": "nvdewarper",
    "infer_config": "nvinferserver",
    "BaseConfig": "the tracker",
}


def lint(files: Sequence[Path], deepstream: str, recipe: Recipe | None, fix: bool) -> LintReport:
    """Return every finding in ``files`` and in the files of the networks that a pipeline names.

    Args:
        deepstream: version that will read them.
        recipe: the model's; None is that of the bundle in which the ONNX file lies, if there is
            one.
        fix: write the corrected lines of ``files``, as often as there are any.

    Raises:
        ForgeError: none of them is nvinfer's or deepstream-app's; where only some are not, the
            report's gate says so.
    """
    report = LintReport(deepstream)
    given = {path.resolve() for path in files}
    seen: set[Path] = set()
    # Files that a configuration names, such as labels: a shell's *.txt passes them to lint, too.
    named: set[Path] = set()
    queue: list[tuple[Path, Mapping[str, Value] | None]] = [(path, None) for path in files]
    # Pipelines come first: what they set takes precedence over a network's own file.
    queue.sort(key=lambda item: not _is_pipeline(item[0]))
    while queue:
        path, set_by_app = queue.pop(0)
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            subject = _examine(
                path, deepstream, recipe, set_by_app, report, fix and path.resolve() in given
            )
        except ForgeError as error:
            report.unread[path] = error
            continue
        report.files.append(path)
        named |= _named(subject)
        if subject.kind == "app":
            queue = [*_networks(subject), *queue]
    report.unread = {
        path: error for path, error in report.unread.items() if path.resolve() not in named
    }
    if not report.files:
        report.gate()
    return report


def _is_pipeline(path: Path) -> bool:
    try:
        return _kind(read(path)) == "app"
    except ForgeError:
        return False


def _named(subject: Subject) -> set[Path]:
    """Files that a configuration names and that are no network's own configuration."""
    networks = (
        {path.resolve() for path, _ in _networks(subject)} if subject.kind == "app" else set()
    )
    texts = [
        value
        for entry, key in subject.scalars()
        if key.kind in ("path", "paths")
        for value in _texts(subject.values.get(entry.group, {}).get(entry.key))
    ]
    return {(subject.folder / text).resolve() for text in texts} - networks


def _texts(value: Value | None) -> list[str]:
    return [
        each
        for each in (value if isinstance(value, tuple) else (value,))
        if isinstance(each, str) and each
    ]


def _examine(
    path: Path,
    deepstream: str,
    recipe: Recipe | None,
    set_by_app: Mapping[str, Value] | None,
    report: LintReport,
    fix: bool,
) -> Subject:
    document = read(path)
    for _ in range(MAX_ROUNDS if fix else 0):
        subject = _subject(document, deepstream, recipe, set_by_app)
        # A misspelt key makes others look wrong: what the text itself shows is corrected first.
        lines = _corrected(document, _in_text(subject), report) or _corrected(
            document, _findings(subject), report
        )
        if lines is None:
            break
        document = parse("\n".join(lines), path)
    if fix and report.fixed.get(path):
        _write(path, "\n".join(document.lines))
    subject = _subject(document, deepstream, recipe, set_by_app)
    report.findings += sorted(set(_findings(subject)), key=lambda each: (each.line, each.rule))
    return subject


def _in_text(subject: Subject) -> Iterator[Finding]:
    for rule in TEXT:
        yield from rule(subject)


def _findings(subject: Subject) -> Iterator[Finding]:
    yield from _in_text(subject)
    unread = any(fault.rule == "yaml-syntax" for fault in subject.document.faults)
    if unread or (subject.kind == "nvinfer" and "property" not in subject.document.groups):
        return
    for rule in NVINFER if subject.kind == "nvinfer" else APP:
        yield from rule(subject)
    if isinstance(subject.element, Mapping):
        yield from _contradictions(subject)
    path = subject.path("onnx-file") if subject.kind == "nvinfer" else None
    if path and path.is_file() and subject.graph is None and path.stat().st_size <= LARGEST_ONNX:
        yield subject.on("bad-onnx", "onnx-file", f"{path.name} is no ONNX file, or cut short")


def _contradictions(subject: Subject) -> Iterator[Finding]:
    pipeline_batch = (subject.element or {}).get("batch-size")
    file_batch = subject.values.get("property", {}).get(
        "batch-size", PROPERTY["batch-size"].default
    )
    if isinstance(pipeline_batch, int) and pipeline_batch != file_batch:
        yield subject.on(
            "gie-batch",
            "batch-size",
            f"the pipeline sets batch-size {pipeline_batch}, this file {file_batch}: the "
            "pipeline's holds, and an engine for another batch is built anew",
            pipeline_batch,
        )


def _subject(
    document: Document,
    deepstream: str,
    recipe: Recipe | None,
    set_by_app: Mapping[str, Value] | None,
) -> Subject:
    subject = Subject(document, _kind(document), deepstream, recipe, set_by_app)
    path = subject.path("onnx-file") if subject.kind == "nvinfer" else None
    if path and path.is_file() and path.stat().st_size <= LARGEST_ONNX:
        subject.graph = _graph(path)
        subject.recipe = recipe or _recipe(path.parent)
    return subject


def _kind(document: Document) -> str:
    """nvinfer or app, by what stands in the file.

    Raises:
        ForgeError: it is neither.
    """
    names = {*document.groups, *(entry.key for entry in document.entries)}
    first = next(
        (line for line in document.lines if line.strip() and not line.strip().startswith("#")), ""
    )
    for mark, owner in _OTHERS.items():
        if mark in names or first.strip().startswith(mark):
            raise ForgeError(
                f"{document.path}: is a file of {owner}",
                "lint knows nvinfer's and deepstream-app's",
            )
    groups = set(document.groups)
    if "property" in groups or any(group.startswith("class-attrs") for group in groups):
        return "nvinfer"
    if any(app_keys.app(group) is not None for group in groups):
        return "app"
    unread = any(fault.rule == "yaml-syntax" for fault in document.faults)
    if unread or any(entry.key in PROPERTY for entry in document.entries):
        return "nvinfer"
    raise ForgeError(
        f"{document.path}: neither nvinfer's nor deepstream-app's file",
        "it has no group that either reads; leave it out",
    )


def _graph(path: Path) -> Graph | None:
    try:
        return inspect(path)
    except ForgeError:
        return None


def _recipe(folder: Path) -> Recipe | None:
    """Return the recipe of the bundle that contains the ONNX file."""
    from pydantic import ValidationError

    from trtforge.bundle.folder import read_document

    try:
        return Recipe.model_validate(read_document(folder).get("recipe"))
    except (ForgeError, ValidationError):
        return None


def _networks(subject: Subject) -> list[tuple[Path, Mapping[str, Value] | None]]:
    found: list[tuple[Path, Mapping[str, Value] | None]] = []
    for group in pipeline.of(subject, "primary-gie", "secondary-gie"):
        name = subject.get("config-file", group)
        path = subject.folder / name if isinstance(name, str) else None
        if path and path.is_file() and subject.get("plugin-type", group) == 0:
            found.append((path, pipeline.element(subject, group)))
    return found


def _corrected(
    document: Document, findings: Iterator[Finding], report: LintReport
) -> list[str] | None:
    """Return the lines with at most one correction each; None if there is nothing to correct."""
    fixes: dict[int, Finding] = {}
    for finding in findings:
        if finding.fix is not None and finding.path == document.path:
            fixes.setdefault(finding.line, finding)
    if not fixes:
        return None
    lines: list[str] = []
    for number, line in enumerate(document.lines, 1):
        end = "\r" if line.endswith("\r") else ""
        fix = fixes[number].fix if number in fixes else None
        lines += [line] if fix is None else [each.rstrip("\r") + end for each in fix]
    if lines == document.lines:
        return None
    report.fixed.setdefault(document.path, []).extend(fixes.values())
    return lines


def _write(path: Path, text: str) -> None:
    from trtforge.store.drafts import draft_in

    mode = path.stat().st_mode
    with draft_in(path.absolute().parent) as draft:
        made = draft / path.name
        made.write_text(text, encoding="utf-8", newline="")
        made.chmod(mode)
        made.replace(path)
