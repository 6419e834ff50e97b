"""The compiled part: with any C compiler, without one, and where it is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trtforge.calibrate import loops
from trtforge.errors import MachineError

ROOT = Path(__file__).parents[2]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_a_compiler = pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(hook: ModuleType, tmp_path: Path) -> Path:
    source = tmp_path / hook.SOURCE
    source.parent.mkdir(parents=True)
    shutil.copy(ROOT / hook.SOURCE, source)
    return tmp_path


def build(hook: ModuleType, root: Path) -> dict[str, Any]:
    data: dict[str, Any] = {"artifacts": []}
    hook.CompileLoops(os.fspath(root), {}, None, None, "", "wheel").initialize("standard", data)
    return data


def dependencies(hook: ModuleType, root: Path) -> list[str]:
    found: list[str] = hook.CompileLoops(os.fspath(root), {}, None, None, "", "wheel").dependencies()
    return found


@needs_a_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_wheel_holds_a_library_that_counts_the_same(
    compiler: str, hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"{compiler} -Wall -Wextra -Wpedantic -Werror")
    data = build(hook, checkout)
    assert data["artifacts"] == [f"/{hook.LIBRARY}"]
    assert data["tag"].startswith("py3-none-") and data["pure_python"] is False
    assert sysconfig.get_platform().split("-")[-1] in data["tag"]
    assert sorted(path.name for path in (checkout / hook.LIBRARY).parent.iterdir()) == ["libloops.so", "loops.c"]

    values = np.random.default_rng(0).normal(size=20_001).astype(np.float32)
    counts = np.zeros(loops.BINS, np.int64)
    found = np.zeros(1, np.uint32)
    made = loops.library(checkout / hook.LIBRARY).trtforge_count
    most = int(np.float32(8).view(np.uint32)) - 1
    pointer = found.ctypes.data_as(made.argtypes[-1])
    assert made(values, values.size, 0, most, loops.BINS / 8, counts, pointer) == values.size
    expected = np.bincount((np.abs(values) * (loops.BINS / 8)).astype(np.int64), minlength=loops.BINS)
    np.testing.assert_array_equal(counts, expected)
    assert found.view(np.float32)[0] == np.abs(values).max()


def test_without_a_compiler_one_comes_from_the_index(
    hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.fspath(checkout))
    assert dependencies(hook, checkout) == ["ziglang"]


@needs_a_compiler
def test_with_a_compiler_none_is_fetched(hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", COMPILERS[0])
    assert dependencies(hook, checkout) == []


def test_a_compiler_that_does_not_work_is_named(
    hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/no/such/cc -m32")
    assert dependencies(hook, checkout) == []  # whoever names one means that one
    with pytest.raises(RuntimeError, match="/no/such/cc -m32"):
        build(hook, checkout)


@needs_a_compiler
def test_source_that_does_not_compile_leaves_the_library_alone(
    hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", COMPILERS[0])
    (checkout / hook.LIBRARY).write_bytes(b"before")
    (checkout / hook.SOURCE).write_text("int main(", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        build(hook, checkout)
    assert (checkout / hook.LIBRARY).read_bytes() == b"before"
    assert sorted(path.name for path in (checkout / hook.LIBRARY).parent.iterdir()) == ["libloops.so", "loops.c"]


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF of another machine"])
def test_a_library_that_is_missing_or_of_another_machine_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "libloops.so"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MachineError, match=r"compiled part of trtforge can't be loaded: .*libloops.so") as caught:
        loops.library(path)
    assert "pip install" in caught.value.hint and "\n" not in caught.value.problem
