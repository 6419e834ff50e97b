"""Run stages once, and keep what they make."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from trtforge.errors import MachineError
from trtforge.store import tools
from trtforge.store.codec import from_json, to_json
from trtforge.store.drafts import draft_in, draft_name
from trtforge.store.files import changed, digest
from trtforge.store.record import RECORD, Record, Request, differences, lost, read_record
from trtforge.store.stage import Artifact, Facts, Inputs, Options, Stage, files_of

UNSHARED = "artifact.unshared"  # lies in an entry until the shared store has it
LONGEST_REASON = 160  # letters


@dataclass
class Store:
    """Runs stages, or, with ``planning``, only tells which would run, and why.

    Attributes:
        root: folder of the entries.
        force: run every stage, whether the store has its result or not.
        ran: the artifacts of all stages so far, in order.
        shared: URL of a store that many machines share. An entry that ``root`` lacks is looked for
            there, and what is made goes there, too.
    """

    root: Path
    planning: bool = False
    force: bool = False
    ran: list[Artifact[object]] = field(default_factory=list)
    shared: str | None = None

    def run(
        self, stage: Stage[Inputs, Options, Facts], inputs: Inputs, options: Options
    ) -> Artifact[Facts]:
        """Return the stage's result, out of the store if it is there.

        Raises:
            ForgeError: the stage's own; an input changed while the stage read it; the store can't
                be written.
        """
        request = Request(
            stage=stage.name,
            version=stage.version,
            tools={tool: tools.version_of(tool) for tool in stage.tools},
            inputs={name: file.digest for name, file in files_of(inputs).items()},
            options=to_json(options),
        )
        entry = self.root / stage.name / request.key
        record = None if self.force else read_record(entry) or self._shared_record(entry)
        facts = _facts(stage, record)
        if record and facts is not None:
            with suppress(OSError):  # someone else's store
                os.utime(entry / RECORD)  # when it was last used, for `trtforge clean`
            if not self.planning:
                self._share(entry)
            artifact = _artifact(stage, entry, record, facts, cached=True, why="unchanged")
        elif self.planning:
            artifact = Artifact(
                stage=stage.name,
                folder=entry,
                digests={},
                facts=stage.facts(),
                summary="",
                planned=True,
                cached=False,
                why=self._why(request),
            )
        else:
            artifact = self._make(stage, inputs, options, request, entry)
        self.ran.append(artifact)
        return artifact

    def _make(
        self,
        stage: Stage[Inputs, Options, Facts],
        inputs: Inputs,
        options: Options,
        request: Request,
        entry: Path,
    ) -> Artifact[Facts]:
        why = self._why(request)
        started = time.monotonic()
        with draft_in(self.root) as draft:
            facts = stage.run(draft, inputs, options)
            # The digests were taken before the stage has read the files.
            for file in files_of(inputs).values():
                if changed(file):
                    raise lost(file.path)
            _return_memory()
            made = sorted(path for path in draft.rglob("*") if path.is_file())
            digests = {path.relative_to(draft).as_posix(): digest(path) for path in made}
            record = Record(request, digests, to_json(facts), time.monotonic() - started)
            record.write(draft)
            self._mark(draft)
            entry.parent.mkdir(parents=True, exist_ok=True)
            _publish(draft, entry, self.force)
        self._share(entry)
        kept = read_record(entry) or record  # another process may have been faster
        known = _facts(stage, kept)
        made_here = replace(kept, seconds=record.seconds)
        return _artifact(
            stage, entry, made_here, facts if known is None else known, cached=False, why=why
        )

    def adopt(self, artifact: Artifact[Facts], fill: Callable[[Path], None]) -> Artifact[Facts]:
        """Take an entry that another store made into this one.

        Args:
            artifact: the entry as the other store has it.
            fill: writes the entry's files into a folder; it is not called where this store has the
                entry already.

        Raises:
            MachineError: the files are not what their record says.
        """
        entry = self.root / artifact.name

        def filled(draft: Path) -> bool:
            fill(draft)
            self._mark(draft)
            return True

        record = None if self.force and not artifact.cached else read_record(entry)
        record = record or self._take(entry, filled)
        if not record:
            raise MachineError(f"{artifact.name}: arrived damaged", "run again")
        self._share(entry)
        facts = from_json(type(artifact.facts), record.facts)
        kept = replace(artifact, folder=entry, digests=record.digests, facts=facts)
        self.ran.append(kept)
        return kept

    def _take(self, entry: Path, fill: Callable[[Path], bool]) -> Record | None:
        """Copy an entry from elsewhere.

        Returns:
            Its record; None if there is no such entry, or if the entry is not what its record and
            its name say.
        """
        with draft_in(self.root) as draft:
            if not fill(draft):
                return None
            record = read_record(draft)
            if not record or record.request.key != entry.name:
                return None
            if any(digest(draft / name) != sha256 for name, sha256 in record.digests.items()):
                return None
            entry.parent.mkdir(parents=True, exist_ok=True)
            _publish(draft, entry, self.force)
        return read_record(entry)

    def _shared_record(self, entry: Path) -> Record | None:
        """Return the record of an entry of the shared store, which is copied unless planning."""
        from trtforge.store import shared

        url, name = self.shared, entry.relative_to(self.root).as_posix()
        if not url:
            return None
        if not self.planning:
            return self._take(entry, lambda draft: shared.fetch(url, name, draft))
        record = shared.look(url, name)
        return record if record and record.request.key == entry.name else None

    def _mark(self, draft: Path) -> None:
        """Note that the shared store lacks the entry: if sharing it fails, the next run does it."""
        if self.shared:
            (draft / UNSHARED).touch()

    def _share(self, entry: Path) -> None:
        """Put an entry into the shared store, unless that has it."""
        from trtforge.store import shared

        if not self.shared or not (entry / UNSHARED).exists():
            return
        record = read_record(entry)
        if not record:
            return
        name = entry.relative_to(self.root).as_posix()
        with draft_in(self.root) as draft:
            shared.publish(self.shared, name, entry, record.digests, draft)
        with suppress(OSError):  # someone else's store
            (entry / UNSHARED).unlink()

    def _why(self, request: Request) -> str:
        """Return what differs from the most similar entry of this stage."""
        if self.force:
            return "forced"
        if None in request.inputs.values():
            return "its inputs are made anew"
        records = [read_record(path) for path in (self.root / request.stage).glob("*")]
        reasons = [differences(request, record.request) for record in records if record]
        return min(reasons, key=len)[:LONGEST_REASON] if reasons else "first time"


def opened(planning: bool = False, force: bool = False) -> Store:
    """Return this user's store: ``$TRTFORGE_STORE`` is a folder, or the URL of a shared store."""
    place = os.environ.get("TRTFORGE_STORE", "")
    return Store(default_root(), planning, force, shared=place if "://" in place else None)


def default_root() -> Path:
    """Return ``$TRTFORGE_STORE`` if that is a folder, else a folder in the user's cache."""
    place = os.environ.get("TRTFORGE_STORE")
    if place and "://" not in place:
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtforge"


def _facts(stage: Stage[Inputs, Options, Facts], record: Record | None) -> Facts | None:
    """Return the facts of a record; None without one, or if they are not the stage's."""
    if record is None:
        return None
    try:
        return from_json(stage.facts, record.facts)
    except ValueError:
        return None


def _artifact(
    stage: Stage[Inputs, Options, Facts],
    entry: Path,
    record: Record,
    facts: Facts,
    *,
    cached: bool,
    why: str,
) -> Artifact[Facts]:
    return Artifact(
        stage=stage.name,
        folder=entry,
        digests=record.digests,
        facts=facts,
        summary=stage.summarize(facts),
        planned=False,
        cached=cached,
        why=why,
        seconds=record.seconds,
    )


def _publish(draft: Path, entry: Path, force: bool) -> None:
    """Move a draft to its place as an entry.

    If another process was faster, its entry stays: it is as good, and someone may be reading it.
    """
    try:
        draft.rename(entry)
        return
    except OSError:  # there is one
        if not force and read_record(entry):
            return
    old = draft.with_name(draft_name())
    with suppress(FileNotFoundError):
        os.utime(entry)  # no other process shall take it for a draft that was left
        entry.rename(old)
    if not force and read_record(old):  # whole after all: somebody else has just repaired it
        draft, old = old, draft
    try:
        draft.rename(entry)
    except OSError:
        if not read_record(entry):
            raise
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _return_memory() -> None:
    """Give freed memory back to the system.

    glibc keeps what a stage has freed, which is several copies of the weights; the next stage's
    memory would come on top of it.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
