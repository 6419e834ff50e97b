"""The record of an entry: the request that a stage ran for, and the facts that it returned."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtforge.errors import ForgeError
from trtforge.store.codec import to_json

RECORD = "artifact.json"
KEY_LENGTH = 32  # hex digits of sha256 that name an entry


@dataclass(frozen=True)
class Request:
    """Everything that decides what a stage makes.

    Attributes:
        version: version of the stage.
        tools: versions of the distributions that it uses, by name.
        inputs: digests of its input files, by name; None for a file that is not made yet.
    """

    stage: str
    version: int
    tools: Mapping[str, str]
    inputs: Mapping[str, str | None]
    options: Mapping[str, object]

    @property
    def key(self) -> str:
        """The name of the entry: a digest of the request."""
        text = json.dumps(to_json(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class Record:
    """The contents of ``artifact.json``.

    Attributes:
        digests: sha256 of every other file of the entry, by its path in the folder.
        facts: the stage's facts, as JSON.
        seconds: how long the stage ran.
    """

    request: Request
    digests: Mapping[str, str]
    facts: Mapping[str, object]
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Write the record into the folder of its entry."""
        (folder / RECORD).write_text(json.dumps(to_json(self)), encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """Return the record of an entry; None unless the entry is whole."""
    try:
        record = parse_record((folder / RECORD).read_bytes())
    except OSError:
        return None
    if record and all((folder / name).is_file() for name in record.digests):
        return record
    return None


def parse_record(text: bytes) -> Record | None:
    """Return the record that a file holds; None if it is damaged."""
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    request, digests, facts = (content.get(key) for key in ("request", "digests", "facts"))
    if not (isinstance(request, dict) and isinstance(digests, dict) and isinstance(facts, dict)):
        return None
    tools, inputs, options = (request.get(key) for key in ("tools", "inputs", "options"))
    if not (isinstance(tools, dict) and isinstance(inputs, dict) and isinstance(options, dict)):
        return None
    stage, version, seconds = request.get("stage"), request.get("version"), content.get("seconds")
    if not (isinstance(stage, str) and isinstance(version, int)):
        return None
    took = float(seconds) if isinstance(seconds, (int, float)) else 0.0
    return Record(Request(stage, version, tools, inputs, options), digests, facts, took)


def differences(request: Request, other: Request) -> str:
    """Return what differs between two requests of one stage, for people."""
    sections = (
        (request.tools, other.tools),
        (request.inputs, other.inputs),
        (request.options, other.options),
    )
    parts = [
        f"{name} changed"
        for values, others in sections
        for name, value in values.items()
        if value != others.get(name)
    ]
    if request.version != other.version:
        parts.append("trtforge changed")
    return ", ".join(parts) or "its entry was incomplete"


def lost(path: Path) -> ForgeError:
    """Return the error to raise for a file that is no longer what its digest says.

    A file of a store's entry takes the entry with it, which is made anew by the next run. Any other
    file, such as one in a prepared folder of the user's, stays.
    """
    for folder in path.parents:
        record = read_record(folder)
        if record and record.request.key == folder.name:
            shutil.rmtree(folder, ignore_errors=True)
            return ForgeError(f"{path}: damaged in the store", "run again: it is made anew")
    return ForgeError(f"{path}: changed while it was read", "run again")
