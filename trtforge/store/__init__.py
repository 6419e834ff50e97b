"""The content-addressed store: a stage runs once for the same inputs, options and versions.

An entry is a folder that never changes. It is made in a draft folder and renamed when it is
complete, so neither a crash nor a second process can leave half of one, and a failure is never
stored. That holds for a folder that several machines share, too. Behind the folder may stand a
shared store at a URL: see ``trtforge.store.shared``.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trtforge.errors import ForgeError, MachineError
from trtforge.store.drafts import draft_in, draft_name

RECORD = "artifact.json"
UNSHARED = "artifact.unshared"  # lies in an entry until the shared store has it
Facts = dict[str, Any]


def _silent(facts: Facts) -> str:
    return ""


@dataclass(frozen=True)
class File:
    """A file or folder that a stage reads, known by its contents; without digest it is not made
    yet.

    Attributes:
        beside: files that belong to it, which the digest covers, too.
    """

    path: Path
    digest: str | None
    beside: tuple[Path, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Stage:
    """A step from files to files.

    Attributes:
        run: ``run(draft, **inputs, **options)`` writes files into the folder ``draft`` and returns
            facts (JSON).
        say: what people read of the facts, in a line.
        version: raised whenever the same inputs give other results.
        tools: distributions whose version may change the results.
    """

    name: str
    version: int
    tools: tuple[str, ...]
    run: Callable[..., Facts]
    say: Callable[[Facts], str] = _silent


@dataclass(frozen=True)
class Artifact:
    """What a stage made; while only planning, ``folder`` may not exist yet. ``seconds``: how long
    making it took.
    """

    stage: Stage
    folder: Path
    digests: Mapping[str, str]
    facts: Facts
    cached: bool
    why: str
    seconds: float = 0.0

    def file(self, name: str) -> File:
        return File(self.folder / name, self.digests.get(name))

    @property
    def name(self) -> str:
        """The same in every store."""
        return f"{self.stage.name}/{self.folder.name}"

    @property
    def files(self) -> dict[str, Path]:
        """All that makes up the entry, by name."""
        return {name: self.folder / name for name in (*self.digests, RECORD)}


@dataclass
class Store:
    """Runs stages, or with ``planning`` only says what would run, and why.

    Attributes:
        shared: URL of a store that many machines share; what ``root`` lacks is looked for there,
            and what is made goes there, too.
    """

    root: Path
    planning: bool = False
    force: bool = False
    ran: list[Artifact] = field(default_factory=list)
    shared: str | None = None

    def run(self, stage: Stage, inputs: Mapping[str, File], options: Mapping[str, Any]) -> Artifact:
        """The stage's result, out of the store if it is there."""
        request = {
            "stage": stage.name,
            "version": stage.version,
            "tools": {tool: version_of(tool) for tool in stage.tools},
            "inputs": {name: file.digest for name, file in inputs.items()},
            "options": json.loads(json.dumps(options)),
        }
        entry = self.root / stage.name / _key(request)
        record = None if self.force else _record(entry) or self._shared_record(entry)
        if record:
            with suppress(OSError):  # someone else's store
                os.utime(entry / RECORD)  # when it was last used, for `trtforge clean`
            if not self.planning:
                self._share(entry)
            took = float(record.get("seconds", 0.0))
            artifact = Artifact(
                stage, entry, record["digests"], record["facts"], True, "unchanged", took
            )
        elif self.planning:
            artifact = Artifact(stage, entry, {}, {}, False, self._why(stage, request))
        else:
            artifact = self._make(stage, inputs, options, request, entry)
        self.ran.append(artifact)
        return artifact

    def _make(
        self,
        stage: Stage,
        inputs: Mapping[str, File],
        options: Mapping[str, Any],
        request: Facts,
        entry: Path,
    ) -> Artifact:
        why = self._why(stage, request)
        started = time.monotonic()
        with draft_in(self.root) as draft:
            facts = stage.run(
                draft, **{name: file.path for name, file in inputs.items()}, **options
            )
            for file in inputs.values():  # their digests were taken before the stage has read them
                if changed(file):
                    raise lost(file.path)
            _return_memory()
            digests = {
                file.relative_to(draft).as_posix(): digest(file)
                for file in sorted(draft.rglob("*"))
                if file.is_file()
            }
            seconds = time.monotonic() - started
            text = json.dumps(
                {"request": request, "digests": digests, "facts": facts, "seconds": seconds}
            )
            (draft / RECORD).write_text(text, encoding="utf-8")
            self._mark(draft)
            entry.parent.mkdir(parents=True, exist_ok=True)
            _publish(draft, entry, self.force)
        self._share(entry)
        kept = _record(entry) or {"digests": digests, "facts": facts}
        return Artifact(stage, entry, kept["digests"], kept["facts"], False, why, seconds)

    def adopt(self, artifact: Artifact, fill: Callable[[Path], None]) -> Artifact:
        """An entry that another store made, in this one.

        Args:
            artifact: as the other store has it.
            fill: writes the entry's files into a folder; not asked where this store has the entry.

        Raises:
            MachineError: the files are not what their record says.
        """
        entry = self.root / artifact.name

        def filled(draft: Path) -> bool:
            fill(draft)
            self._mark(draft)
            return True

        record = None if self.force and not artifact.cached else _record(entry)
        if not record:
            record = self._take(entry, filled)
            if not record:
                raise MachineError(f"{artifact.name}: arrived damaged", "run again")
        self._share(entry)
        kept = replace(artifact, folder=entry, digests=record["digests"], facts=record["facts"])
        self.ran.append(kept)
        return kept

    def _take(self, entry: Path, fill: Callable[[Path], bool]) -> Facts | None:
        """Copy an entry from elsewhere; None if there is none, or it is not what its record and its
        name say.
        """
        with draft_in(self.root) as draft:
            if not fill(draft):
                return None
            record = _record(draft)
            if not record or _key(record["request"]) != entry.name:
                return None
            if any(digest(draft / name) != sha256 for name, sha256 in record["digests"].items()):
                return None
            entry.parent.mkdir(parents=True, exist_ok=True)
            _publish(draft, entry, self.force)
        return _record(entry)

    def _shared_record(self, entry: Path) -> Facts | None:
        """The record of an entry of the shared store, which is copied unless this is only planning."""
        from trtforge.store import shared

        url, name = self.shared, entry.relative_to(self.root).as_posix()
        if not url:
            return None
        if not self.planning:
            return self._take(entry, lambda draft: shared.fetch(url, name, draft))
        record = shared.look(url, name)
        return record if record and _key(record["request"]) == entry.name else None

    def _mark(self, draft: Path) -> None:
        """A run that fails to share what it has made leaves that to the next one."""
        if self.shared:
            (draft / UNSHARED).touch()

    def _share(self, entry: Path) -> None:
        from trtforge.store import shared

        if self.shared and (entry / UNSHARED).exists() and (record := _record(entry)):
            with draft_in(self.root) as draft:
                shared.publish(
                    self.shared,
                    entry.relative_to(self.root).as_posix(),
                    entry,
                    record["digests"],
                    draft,
                )
            with suppress(OSError):  # someone else's store
                (entry / UNSHARED).unlink()

    def _why(self, stage: Stage, request: Facts) -> str:
        """What differs from the most similar entry of this stage."""
        if self.force:
            return "forced"
        if None in request["inputs"].values():
            return "its inputs are made anew"
        found = [
            record["request"]
            for path in (self.root / stage.name).glob("*")
            if (record := _record(path))
        ]
        if not found:
            return "first time"
        return min((_differences(request, other) for other in found), key=len)[:160]


def opened(planning: bool = False, force: bool = False) -> Store:
    """The store of this user on this machine: ``$TRTFORGE_STORE`` is a folder, or the URL of a
    shared one.
    """
    given = os.environ.get("TRTFORGE_STORE", "")
    return Store(default_root(), planning, force, shared=given if "://" in given else None)


def default_root() -> Path:
    """``$TRTFORGE_STORE`` if that is a folder, else the user's cache folder."""
    given = os.environ.get("TRTFORGE_STORE")
    if given and "://" not in given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtforge"


def source(path: Path, *more: Path) -> File:
    """A file of the user's, with the digest of it and of the files that belong to it."""
    if not more:
        return File(path, digest(path))
    return File(
        path,
        hashlib.sha256("".join(digest(file) for file in (path, *more)).encode()).hexdigest(),
        more,
    )


def changed(file: File) -> bool:
    """Whether a file is another than its digest says. A folder's is not looked at, nor what has
    gone away.
    """
    if not all(path.is_file() for path in (file.path, *file.beside)):
        return False
    return source(file.path, *file.beside).digest != file.digest


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as stream:
        found = hashlib.sha256()
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def lost(path: Path) -> ForgeError:
    """What to raise for a file that no longer is what its digest says.

    An entry of a store is deleted, and will be made anew; what is none, such as a prepared folder
    of the user's, stays.
    """
    for folder in path.parents:
        record = _record(folder)
        if record and _key(record["request"]) == folder.name:
            shutil.rmtree(folder, ignore_errors=True)
            return ForgeError(f"{path}: damaged in the store", "run again: it is made anew")
    return ForgeError(f"{path}: changed while it was read", "run again")


def _publish(draft: Path, entry: Path, force: bool) -> None:
    """Another process that was faster keeps its entry: it is as good, and someone may be reading
    it.
    """
    try:
        draft.rename(entry)
        return
    except OSError:  # there is one
        if not force and _record(entry):
            return
    old = draft.with_name(draft_name())
    with suppress(FileNotFoundError):
        os.utime(entry)  # no other process shall take it for a draft that was left
        entry.rename(old)
    if not force and _record(old):  # whole after all: somebody else has just repaired it
        draft, old = old, draft
    try:
        draft.rename(entry)
    except OSError:
        if not _record(entry):
            raise
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _return_memory() -> None:
    """glibc keeps what a stage has freed, several copies of the weights: the next stage would come
    on top of it.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def version_of(distribution: str) -> str:
    """The installed version of a distribution, 'none' without it; trtforge's stages carry their own
    versions.

    NVIDIA's wheels also go by names with CUDA's version, which can be installed without the plain
    one.
    """
    from importlib.metadata import PackageNotFoundError, version

    for suffix in ("", "-cu13", "-cu12", "-cu11"):
        with suppress(PackageNotFoundError):
            return version(distribution + suffix)
    return "none"


def _key(request: Facts) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]


def _record(entry: Path) -> Facts | None:
    """An entry's record, if the entry is whole."""
    try:
        record: Facts = json.loads((entry / RECORD).read_text(encoding="utf-8"))
        whole = {"request", "facts"} <= record.keys() and all(
            (entry / name).is_file() for name in record["digests"]
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return record if whole else None


def _differences(request: Facts, other: Facts) -> str:
    parts = []
    for section in ("tools", "inputs", "options"):
        for key in request[section]:
            if request[section][key] != other[section].get(key):
                parts.append(f"{key} changed")
    if request["version"] != other["version"]:
        parts.append("trtforge changed")
    return ", ".join(parts) or "its entry was incomplete"
