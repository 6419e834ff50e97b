"""Files that a configuration names: there or not, and where DeepStream looks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trtforge.deepstream.format.document import Entry
from trtforge.deepstream.format.keys import Key
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

INSTALLED = (
    "/opt/nvidia/deepstream"  # what DeepStream brings is on the target, and need not be here
)
_MADE = ("model-engine-file",)  # nvinfer makes it
_FOLDERS = ("-dir", "debug-payload")  # written to


def there(subject: Subject) -> Iterator[Finding]:
    for entry, key in subject.scalars():
        if (
            key.kind not in ("path", "paths")
            or entry.key in _MADE
            or any(mark in entry.key for mark in _FOLDERS)
        ):
            continue
        if not _enabled(subject, entry):
            continue
        value = subject.values.get(entry.group, {}).get(entry.key)
        for text in value if isinstance(value, tuple) else (value,):
            if (
                isinstance(text, str)
                and text
                and not text.startswith(INSTALLED)
                and text.rstrip() == text
            ):
                yield from _missing(subject, entry, key, text)


def _enabled(subject: Subject, entry: Entry) -> bool:
    return subject.kind == "nvinfer" or subject.get("enable", entry.group) != 0


def _missing(subject: Subject, entry: Entry, key: Key, text: str) -> Iterator[Finding]:
    path = subject.folder / text
    if path.exists():
        return
    if text.startswith("/"):
        kept = _realpath_so_far(path)
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
                grade="warning",
            )
        return
    engine = subject.path("model-engine-file") if entry.key == "onnx-file" else None
    spare = engine is not None and engine.is_file()  # needed only if the engine does not load
    yield subject.at(
        "missing-file",
        entry,
        f"{entry.key}: there is no {path}",
        grade="warning" if spare else None,
    )


def _realpath_so_far(path: Path) -> Path:
    """Return what glibc's realpath leaves in its buffer when a part of the path is missing."""
    for part in (*reversed(path.parents), path):
        if not part.exists():
            return part
    return path


def working_folder(subject: Subject) -> Iterator[Finding]:
    entry = subject.entry("custom-network-config")
    if subject.kind == "nvinfer" and entry and not entry.text.startswith("/"):
        yield subject.at(
            "resolved-elsewhere",
            entry,
            "custom-network-config is taken from the folder that the process "
            "runs in, not from this file's",
        )


RULES = (there, working_folder)
