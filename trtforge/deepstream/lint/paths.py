"""Check that the files of a configuration exist, and where DeepStream looks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trtforge.deepstream.format.document import Entry
from trtforge.deepstream.format.keys import Key
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

# DeepStream installs its own files here on the target; this machine need not have them.
INSTALLED = "/opt/nvidia/deepstream"
_BUILT_KEYS = ("model-engine-file",)  # nvinfer builds the file if it is missing
_OUTPUT_MARKS = ("-dir", "debug-payload")  # parts of the keys of folders that DeepStream writes to


def missing_files(subject: Subject) -> Iterator[Finding]:
    """Yield the files that DeepStream reads and that are missing."""
    for entry, key in subject.scalars():
        if not _is_read(entry, key) or not _enabled(subject, entry):
            continue
        value = subject.values.get(entry.group, {}).get(entry.key)
        for text in value if isinstance(value, tuple) else (value,):
            if not isinstance(text, str) or not text or text.startswith(INSTALLED):
                continue
            if text.rstrip() == text:  # the rule trailing-blank reports the others
                yield from _missing(subject, entry, key, text)


def _is_read(entry: Entry, key: Key) -> bool:
    """Tell whether a key names files that must exist before DeepStream starts."""
    is_path = key.kind in ("path", "paths")
    is_output = any(mark in entry.key for mark in _OUTPUT_MARKS)
    return is_path and not is_output and entry.key not in _BUILT_KEYS


def _enabled(subject: Subject, entry: Entry) -> bool:
    return subject.kind == "nvinfer" or subject.get("enable", entry.group) != 0


def _missing(subject: Subject, entry: Entry, key: Key, text: str) -> Iterator[Finding]:
    path = subject.folder / text
    if path.exists():
        return
    if text.startswith("/"):
        kept = _partial_realpath(path)
        if subject.kind == "nvinfer" and str(kept) != text:
            yield subject.at(
                "absolute-path",
                entry,
                f"{entry.key}: {text} is not on this machine; where its folder is "
                f"missing nvinfer looks for {kept} instead: give a path relative to this "
                "file",
            )
        else:
            yield subject.at(
                "missing-file",
                entry,
                f"{entry.key}: {text} is not on this machine",
                severity="warning",
            )
        return
    engine = subject.path("model-engine-file") if entry.key == "onnx-file" else None
    # With an engine, nvinfer needs the ONNX file only if the engine does not load.
    replaceable = engine is not None and engine.is_file()
    yield subject.at(
        "missing-file",
        entry,
        f"{entry.key}: there is no {path}",
        severity="warning" if replaceable else None,
    )


def _partial_realpath(path: Path) -> Path:
    """Return what glibc's realpath leaves in its buffer when a part of the path is missing."""
    for part in (*reversed(path.parents), path):
        if not part.exists():
            return part
    return path


def working_folder(subject: Subject) -> Iterator[Finding]:
    """Yield the path that DeepStream takes from the folder in which the process runs."""
    entry = subject.entry("custom-network-config")
    if subject.kind == "nvinfer" and entry and not entry.text.startswith("/"):
        yield subject.at(
            "resolved-elsewhere",
            entry,
            "custom-network-config is taken from the folder that the process "
            "runs in, not from this file's",
        )


RULES = (missing_files, working_folder)
