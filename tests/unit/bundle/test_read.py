"""Prepared folders come from elsewhere: what their manifest says is checked before anything is made
of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trtforge.bundle import folder
from trtforge.bundle.read import read_prepared
from trtforge.errors import ForgeError

SAID: dict[str, Any] = {
    "model": "m",
    "precision": "fp16",
    "batch": [1, 2, 4],
    "deepstream": "9.1",
    "inputs": {},
    "recipe": {},
    "facts": {"size": [64, 64]},
    "graphs": ["tensorrt"],
    "patches": {"tensorrt": {}},
}


def written(out: Path, **changes: Any) -> Path:
    folder.write(out, {"m.onnx": b"graph"}, SAID | changes, force=False)
    return out


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ready = read_prepared(written(tmp_path / "out"))
    assert (ready.name, ready.precision, ready.batch, ready.deepstream) == (
        "m",
        "fp16",
        (1, 2, 4),
        "9.1",
    )
    assert read_prepared(written(tmp_path / "none", deepstream=None)).deepstream is None


@pytest.mark.parametrize(
    "hostile",
    [
        {"precision": "x/../../escaped"},
        {"precision": "FP16"},
        {"precision": ["fp16"]},
        {"precision": None},
        {"batch": [4, 2, 1]},
        {"batch": [0, 0, 1]},
        {"batch": [1, 2]},
        {"batch": [1, 2, 3, 4]},
        {"batch": ["1", 1, 1]},
        {"deepstream": "../9"},
        {"deepstream": 9},
        {"deepstream": ""},
    ],
)
def test_values_that_end_in_paths_and_builders(tmp_path: Path, hostile: dict[str, Any]) -> None:
    with pytest.raises(ForgeError, match=r"manifest\.json: incomplete \(") as error:
        read_prepared(written(tmp_path / "out", **hostile))
    assert "\n" not in error.value.problem
