"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """
    Attributes:
        about: a word or two, such as ``driver``.
        state: ok; note, which hinders nothing that is needed; wrong, which does.
        says: one sentence.
        fix: the command that puts it right; empty where there is none, or nothing to put right.
    """

    about: str
    state: State
    says: str
    fix: str = ""
