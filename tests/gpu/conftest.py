"""Tests on a GPU share one store, and one timing cache that is kept between runs.

``TRTFORGE_GPU_TIMING`` names the folder of the timing cache; without it, it is that of the user's
own store. Engines are built again in every run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trtforge.store import Store, default_root


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    kept = Path(os.environ.get("TRTFORGE_GPU_TIMING") or default_root() / "timing").absolute()
    kept.mkdir(parents=True, exist_ok=True)
    root = tmp_path_factory.mktemp("store")
    (root / "timing").symlink_to(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTFORGE_STORE", str(root))
        yield root


@pytest.fixture(autouse=True)
def store_root(shared_root: Path) -> Path:
    return shared_root


@pytest.fixture(scope="session")
def store(shared_root: Path) -> Store:
    """Stages that the tests share run once."""
    return Store(shared_root)
