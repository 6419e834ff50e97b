"""What holds for every test: no test reads or fills the user's store."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge import present


@pytest.fixture(autouse=True)
def store_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "store"
    monkeypatch.setenv("TRTFORGE_STORE", str(root))
    return root


@pytest.fixture(autouse=True)
def nobody_listens() -> None:
    """A command that ran in this process has installed its terminal: notes go to the log again."""
    present.install(present.Silent())
