"""Define one line of the doctor's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Diagnosis:
    """The state of one part of a machine.

    Attributes:
        about: name of the part in a word or two, such as ``driver``.
        state: ``ok``; ``note`` for a remark that stops nothing; ``wrong`` for a fault that does.
        says: one sentence.
        fix: command that corrects the fault; empty if there is none.
    """

    about: str
    state: State
    says: str
    fix: str = ""
