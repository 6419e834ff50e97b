"""The content-addressed store: a stage runs once for the same inputs, options and versions.

An entry is a folder that never changes. It is made in a draft folder and renamed when it is
complete, so neither a crash nor a second process can leave half of one, and a failure is never
stored. That also holds for a folder that several machines share. Behind the folder may stand a
shared store at a URL: see ``trtforge.store.shared``.
"""

from __future__ import annotations

from trtforge.store.codec import OMIT_NONE, from_json, to_json
from trtforge.store.files import File, changed, digest, source
from trtforge.store.record import RECORD, lost
from trtforge.store.stage import NOTHING, Artifact, Nothing, Stage
from trtforge.store.store import UNSHARED, Store, default_root, opened
from trtforge.store.tools import version_of

__all__ = [
    "NOTHING",
    "OMIT_NONE",
    "RECORD",
    "UNSHARED",
    "Artifact",
    "File",
    "Nothing",
    "Stage",
    "Store",
    "changed",
    "default_root",
    "digest",
    "from_json",
    "lost",
    "opened",
    "source",
    "to_json",
    "version_of",
]
