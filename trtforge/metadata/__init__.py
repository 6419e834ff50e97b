"""What a model's file says of itself, and what that is used for."""

from __future__ import annotations

from trtforge.metadata.complete import (
    Completed,
    by_metadata,
    by_structure,
    complete,
    complete_nms,
    from_recipe,
)
from trtforge.metadata.dialects import parse
from trtforge.metadata.read import of_file, of_model
from trtforge.metadata.records import NOTHING, Entry, Metadata, Normalization

__all__ = [
    "NOTHING",
    "Completed",
    "Entry",
    "Metadata",
    "Normalization",
    "by_metadata",
    "by_structure",
    "complete",
    "complete_nms",
    "from_recipe",
    "of_file",
    "of_model",
    "parse",
]
