"""The element itself: its id, and which objects it looks at."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

_SECONDARY = (
    "operate-on-gie-id",
    "operate-on-class-ids",
    "input-object-min-width",
    "input-object-min-height",
    "input-object-max-width",
    "input-object-max-height",
    "secondary-reinfer-interval",
    "classifier-async-mode",
)


def identity(subject: Subject) -> Iterator[Finding]:
    if subject.get("gie-unique-id") is None and not subject.entry("gie-unique-id"):
        alone = subject.element is None
        yield subject.on(
            "no-unique-id",
            "gie-unique-id",
            "nvinfer starts only with an id over 0, from here or from the pipeline",
            1,
            "warning" if alone else None,
        )


def objects(subject: Subject) -> Iterator[Finding]:
    ids = subject.get("operate-on-class-ids")
    if ids and min(ids) < 0:
        kept = tuple(each for each in ids if each >= 0)
        yield subject.on(
            "negative-class",
            "operate-on-class-ids",
            "a negative class id throws, and the process ends; "
            "without the key all classes are looked at",
            kept or None,
        )
    if subject.get("process-mode") == 2:
        network_id = subject.get("gie-unique-id")
        if network_id is not None and subject.get("operate-on-gie-id") == network_id:
            yield subject.on(
                "object-source",
                "operate-on-gie-id",
                f"network {network_id} looks at objects of its own",
            )
        return
    for name in _SECONDARY:
        entry = subject.entry(name)
        if entry and subject.get(name) not in (-1, 0, False, 2**31 - 1):
            yield subject.at(
                "objects-ignored",
                entry,
                f"{name} is for secondary networks (process-mode=2), and this "
                "one looks at whole frames",
                severity="note",
            )


RULES = (identity, objects)
