"""The real thing: the demo detector, ONNX Runtime, and TensorRT-RTX's builder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.extras import missing
from trtforge.backends.tensorrt_rtx import INSTALL
from trtforge.errors import MachineError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo" / "demo.onnx"
LABELS = ROOT / "recipes" / "demo" / "labels.txt"
PHOTOS = ROOT / "calibration" / "demo"


@dataclass(frozen=True)
class Run:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all integration tests: stages that they share run once, as they do for a user."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def trtforge(store: Path) -> Callable[..., Run]:
    """Runs the command line in a process of its own."""

    def run(*words: str | Path, cwd: Path | None = None, **environment: str) -> Run:
        command = [sys.executable, "-m", "trtforge", *map(str, words)]
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={
                **os.environ,
                "TRTFORGE_STORE": str(store),
                "PYTHONPATH": str(ROOT),
                **environment,
            },
        )
        if done.returncode == MachineError.code and missing("rtx") and INSTALL in done.stderr:
            pytest.skip("needs the extra [rtx]")
        return Run(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight calibration images."""
    folder = tmp_path_factory.mktemp("photos")
    for file in sorted(PHOTOS.iterdir())[:8]:
        shutil.copy(file, folder)
    return folder
