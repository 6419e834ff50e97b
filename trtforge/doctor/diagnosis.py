"""Define the diagnosis of one part of a machine, a line of ``trtforge doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Diagnosis:
    """The state of one part of a machine.

    Attributes:
        about: name of the part in a word or two, such as ``driver``.
        state: ``ok``; ``note`` for a remark; ``wrong`` for a fault that prevents work.
        says: one sentence about the part.
        fix: command that corrects the fault; empty if there is none.
    """

    about: str
    state: State
    says: str
    fix: str = ""
