"""deepstream-app's file: its groups against each other, and against the files of its networks."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator

from trtforge.deepstream.app.pipeline import TRACKER_LIBRARY
from trtforge.deepstream.format.keys import Value
from trtforge.deepstream.format.secrets import redact
from trtforge.deepstream.lint.engine import foreign
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import SWITCHED, Subject

MAX_SECONDARY = 16
RTSP = 4  # the type of a source


def family(group: str) -> str:
    return group.rstrip("0123456789")


def enabled(subject: Subject, group: str) -> bool:
    return subject.get("enable", group) not in (0, None) and "enable" in subject.document.group(
        group
    )


def of(subject: Subject, *families: str) -> list[str]:
    """Groups of these families that are on."""
    return [
        group
        for group in subject.document.groups
        if family(group) in families and enabled(subject, group)
    ]


def switches(subject: Subject) -> Iterator[Finding]:
    for group, line in subject.document.groups.items():
        if subject.table(group) is None or "enable" not in (subject.table(group) or {}):
            continue
        entry = subject.entry("enable", group)
        if entry is None:
            if family(group) in SWITCHED:
                yield subject.at(
                    "left-out",
                    line,
                    f"[{group}] has no enable, and is silently left out",
                    subject.added("enable", 1, group),
                    "warning",
                )
        elif "enable" not in subject.values.get(group, {}):
            word = {"true": 1, "yes": 1, "on": 1, "false": 0, "no": 0, "off": 0}.get(
                entry.text.strip().lower()
            )
            silent = family(group) in SWITCHED and subject.document.dialect == "ini"
            yield subject.at(
                "left-out" if silent else "wrong-type",
                entry,
                f"enable={entry.text} is no number: "
                + (f"[{group}] is silently left out" if silent else "the parser refuses the file"),
                None if word is None else subject.written(entry, value=word),
            )


def sources(subject: Subject) -> Iterator[Finding]:
    for group, line in subject.document.groups.items():
        if (
            group.startswith("source")
            and not re.fullmatch(r"source\d+|source-list|source-attr-all", group)
            and subject.document.dialect == "ini"
        ):
            yield subject.at(
                "source-name",
                line,
                f"[{group}] begins like a source and is not source0, source1 ...: "
                "the parser refuses the file",
            )
    for group in of(subject, "source"):
        entry = subject.entry("extract-sei-type5-data", group)
        if entry and subject.document.dialect == "ini":
            yield subject.at(
                "sei-data",
                entry,
                "deepstream-app 9.1 looks for this key in a group named [source], and "
                "refuses the file without it",
                subject.without(entry),
            )
        uri = subject.entry("uri", group)
        if uri and subject.get("type", group) == 3 and re.search(r"%(?!d|0\dd|%)", uri.text):
            yield subject.at(
                "printf-uri",
                uri,
                f"{uri.text}: with type=3 each % begins a number of its own: "
                "write one [sourceN] of type 2 or 4 for each",
            )
    if "source-list" in subject.document.groups:
        yield from _source_list(subject)
    elif not of(subject, "source") and "source" not in subject.document.groups:
        yield subject.at("nothing-runs", 1, "no [sourceN] is enabled")
    if not of(subject, "sink"):
        yield subject.at("nothing-runs", 1, "no [sinkN] is enabled")


def _source_list(subject: Subject) -> Iterator[Finding]:
    line = subject.document.groups["source-list"]
    if "source-attr-all" not in subject.document.groups:
        yield subject.at(
            "source-list",
            line,
            "[source-list] needs a group [source-attr-all]: the parser refuses the file",
        )
    listed, count = (
        subject.get("list", "source-list"),
        subject.get("num-source-bins", "source-list"),
    )
    if (
        listed is not None
        and subject.entry("num-source-bins", "source-list")
        and len(listed) != count
    ):
        yield subject.at(
            "source-list",
            subject.line_of("num-source-bins", "source-list"),
            f"{count} sources, but {len(listed)} URIs: the parser refuses the file",
        )


def count_of_sources(subject: Subject) -> int:
    total = 0
    for group in of(subject, "source"):
        number = subject.get("num-sources", group) if subject.get("type", group) == 3 else 1
        total += max(number if isinstance(number, int) else 1, 1)
    return total


def batches(subject: Subject) -> Iterator[Finding]:
    if "source-list" in subject.document.groups or "source" in subject.document.groups:
        return
    sources_on, batch = count_of_sources(subject), subject.get("batch-size", "streammux")
    entry = subject.entry("batch-size", "streammux")
    if entry and sources_on and batch != sources_on:
        yield subject.at(
            "muxer-batch",
            entry,
            f"{sources_on} sources, but the muxer's batch is {batch}",
            subject.written(entry, value=sources_on),
        )


def live(subject: Subject) -> Iterator[Finding]:
    """Yield a finding if cameras over RTSP meet a muxer that is not told that they are live.

    The muxer then waits for late frames instead of batching what has arrived (documentation of
    nvstreammux, live-source); NVIDIA's own pipelines with cameras set 1.
    """
    cameras = [group for group in of(subject, "source") if subject.get("type", group) == RTSP]
    if not cameras or "streammux" not in subject.document.groups:
        return
    if subject.get("live-source", "streammux"):
        return
    entry = subject.entry("live-source", "streammux")
    yield subject.at(
        "live-source",
        subject.line_of("live-source", "streammux"),
        f"[{cameras[0]}] is live, but live-source=0: the muxer waits for frames that are late",
        subject.written(entry, value=1) if entry else subject.added("live-source", 1, "streammux"),
    )


def networks(subject: Subject) -> Iterator[Finding]:
    groups = of(subject, "primary-gie", "secondary-gie")
    ids: dict[int, str] = {}
    for group in groups:
        if not subject.entry("config-file", group):
            yield subject.at(
                "no-config-file",
                subject.document.groups[group],
                f"[{group}] has no config-file: the parser refuses the file",
            )
        number = subject.get("gie-unique-id", group) or 0
        if number in ids and (number or subject.document.dialect == "ini"):
            yield subject.at(
                "id-clash",
                subject.line_of("gie-unique-id", group),
                f"[{group}] and [{ids[number]}] "
                f"both have gie-unique-id {number}" + ("" if number else " (none is 0)"),
            )
        ids.setdefault(number, group)
    for group in groups:
        named = subject.entry("model-engine-file", group)
        path = subject.folder / named.text if named else None
        for rule, why in foreign(path) if path and path.is_file() else ():
            yield subject.at(rule, subject.line_of("model-engine-file", group), why)
    for group in of(subject, "secondary-gie"):
        on = subject.get("operate-on-gie-id", group)
        if on is not None and on > 0 and on not in ids:
            yield subject.at(
                "object-source",
                subject.line_of("operate-on-gie-id", group),
                f"[{group}] looks at objects of network {on}, which is not in the pipeline",
            )
    if len(of(subject, "secondary-gie")) > MAX_SECONDARY:
        yield subject.at("id-clash", 1, f"deepstream-app takes {MAX_SECONDARY} secondary networks")


def tracker(subject: Subject) -> Iterator[Finding]:
    if "tracker" not in subject.document.groups or not enabled(subject, "tracker"):
        return
    if not subject.get("ll-lib-file", "tracker"):
        yield subject.at(
            "tracker",
            subject.document.groups["tracker"],
            "without ll-lib-file it does not start",
            subject.added("ll-lib-file", TRACKER_LIBRARY, "tracker"),
        )
    files = ";".join(subject.get("ll-config-file", "tracker") or ())
    for name in ("tracker-width", "tracker-height"):
        entry, side = subject.entry(name, "tracker"), subject.get(name, "tracker")
        if entry and "NvDCF" in files and isinstance(side, int) and side % 32:
            yield subject.at(
                "tracker-size",
                entry,
                f"{name}={side} is no multiple of 32",
                subject.written(entry, value=-(-side // 32) * 32),
            )


def passwords(subject: Subject) -> Iterator[Finding]:
    path = subject.document.path
    for entry in subject.document.effective():
        if (
            entry.key in ("uri", "list")
            and "@" in entry.text
            and redact(entry.text) != entry.text
            and stat.S_IMODE(path.stat().st_mode) & 0o077
        ):
            yield subject.at(
                "open-password",
                entry,
                f"{entry.text} with a password, in a file that others on "
                f"this machine can read: chmod 600 {path.name}",
            )


def element(subject: Subject, group: str) -> dict[str, Value]:
    """Return what deepstream-app sets on a group's element, above the element's own file."""
    shared = (
        "batch-size",
        "gie-unique-id",
        "interval",
        "gpu-id",
        "operate-on-gie-id",
        "operate-on-class-ids",
    )
    found = {name: value for name, value in subject.values.get(group, {}).items() if name in shared}
    if family(group) == "secondary-gie":
        found["process-mode"] = 2
    return found


RULES = (switches, sources, batches, live, networks, tracker, passwords)
