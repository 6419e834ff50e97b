"""The compiled part: by any C compiler, without one, and where it is missing or old."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.extras import needs
from trtforge.calibration import loops
from trtforge.errors import MachineError

ROOT = Path(__file__).parents[2]
ZIG = (
    [f"{shlex.quote(sys.executable)} -m ziglang cc -mcpu=baseline"]
    if importlib.util.find_spec("ziglang")
    else []
)
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)] + ZIG
needs_a_compiler = pytest.mark.skipif(not COMPILERS, reason="needs gcc, clang or ziglang")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    needs("dev")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(script: ModuleType, tmp_path: Path) -> Path:
    """Of the source, in a checkout."""
    source: Path = tmp_path / script.SOURCE
    source.parent.mkdir(parents=True)
    shutil.copy(ROOT / script.SOURCE, source)
    return source.parent


def hook(script: ModuleType, folder: Path) -> Any:
    return script.CompileLoops(os.fspath(folder.parents[1]), {}, None, None, "", "wheel")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@needs_a_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_editable_installation_gets_a_library_that_counts(
    compiler: str, script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"{compiler} -Wall -Wextra -Wpedantic -Werror")
    hook(script, folder).initialize("editable", {})
    assert names(folder) == ["libloops.so", "loops.c"]
    values = np.random.default_rng(0).normal(size=20_001).astype(np.float32)
    counts, found = np.zeros(loops.BINS, np.int64), np.zeros(1, np.uint32)
    count = loops.load(folder).trtforge_count
    most = int(np.float32(8).view(np.uint32)) - 1
    pointer = found.ctypes.data_as(count.argtypes[-1])
    values_at, counts_at = values.ctypes.data, counts.ctypes.data
    assert count(values_at, values.size, 0, most, loops.BINS / 8, counts_at, pointer) == values.size
    expected = np.bincount(
        (np.abs(values) * (loops.BINS / 8)).astype(np.int64), minlength=loops.BINS
    )
    np.testing.assert_array_equal(counts, expected)
    assert found.view(np.float32)[0] == np.abs(values).max()


@needs_a_compiler
def test_a_wheel_gets_one_and_the_checkout_stays_as_it_is(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", COMPILERS[0])
    data: dict[str, Any] = {"force_include": {}}
    made = hook(script, folder)
    made.initialize("standard", data)
    ((library, place),) = data["force_include"].items()
    assert Path(library).read_bytes()[:4] == b"\x7fELF" and place == script.LIBRARY
    assert data["tag"].startswith("py3-none-") and data["pure_python"] is False
    assert sysconfig.get_platform().split("-")[-1] in data["tag"]
    assert names(folder) == ["loops.c"]
    made.finalize("standard", data, "")
    assert not Path(library).exists()


def test_without_a_compiler_one_comes_from_the_index(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.fspath(folder))
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert hook(script, folder).dependencies() == ["ziglang"]


def test_so_where_a_compiler_does_not_link(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.fspath(folder))
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    broken = folder / "cc"
    broken.write_text("#!/bin/sh\necho cannot find crtbeginS.o >&2\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    assert hook(script, folder).dependencies() == ["ziglang"]
    with pytest.raises(
        RuntimeError,
        match=r"pip install ziglang.*\n.*cc: cannot find crtbeginS.o\n.*gcc: No such file",
    ):
        hook(script, folder).initialize("editable", {})


@pytest.mark.skipif(COMPILERS == ZIG, reason="needs gcc or clang")
def test_with_a_compiler_none_is_fetched(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    assert hook(script, folder).dependencies() == []


def test_a_compiler_that_was_asked_for_is_the_only_one(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/no/such/cc -m32")
    assert hook(script, folder).dependencies() == []
    with pytest.raises(RuntimeError, match=r"\n/no/such/cc -m32: No such file or directory$"):
        hook(script, folder).initialize("editable", {})


@needs_a_compiler
def test_source_that_does_not_compile_leaves_the_library_alone(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", COMPILERS[0])
    (folder / "libloops.so").write_bytes(b"before")
    (folder / "loops.c").write_text("int main(", encoding="utf-8")
    with pytest.raises(RuntimeError, match="error"):
        hook(script, folder).initialize("editable", {})
    assert (folder / "libloops.so").read_bytes() == b"before"
    assert names(folder) == ["libloops.so", "loops.c"]


# --------------------------------------------------------------------------------------------- as
# it is loaded


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF of another machine"])
def test_a_library_that_is_missing_or_of_another_machine(
    content: bytes | None, folder: Path
) -> None:
    if content is not None:
        (folder / "libloops.so").write_bytes(content)
    with pytest.raises(
        MachineError, match=r"compiled part of trtforge can't be loaded: .*libloops.so"
    ) as caught:
        loops.load(folder)
    assert "pip install" in caught.value.hint and "\n" not in caught.value.problem


def test_a_library_of_another_source_is_not_called(folder: Path) -> None:
    shutil.copy(loops.HERE / "libloops.so", folder)
    loops.load(folder)
    with (folder / "loops.c").open("a", encoding="utf-8") as source:
        source.write("/* changed since */\n")
    with pytest.raises(
        MachineError, match=r"libloops.so: was compiled from another loops.c"
    ) as caught:
        loops.load(folder)
    assert "pip install -e ." in caught.value.hint


def test_both_languages_have_the_same_numbers() -> None:
    defined = re.findall(
        r"^#define (\w+) +(\d+)", (loops.HERE / "loops.c").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {"BINS": loops.BINS, "CHUNK": loops.CHUNK, "LEVELS": loops.LEVELS}.items() <= {
        (name, int(number)) for name, number in defined
    }


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros(loops.BINS),
        np.zeros(loops.BINS - 1, np.int64),
        np.zeros(2 * loops.BINS, np.int64)[::2],
        np.frombuffer(bytes(8 * loops.BINS), np.int64),
    ],
)
def test_an_array_that_c_would_misread_is_not_passed(counts: np.ndarray) -> None:
    with pytest.raises(TypeError, match="C takes no such array"):
        loops.count(np.ones(3, np.float32), 0, 0x7F000000, 1.0, counts)


def test_calls_leave_no_garbage() -> None:
    values, counts = np.ones(3, np.float32), np.zeros(loops.BINS, np.int64)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            loops.count(values, 0, 0x7F000000, 1.0, counts)
            loops.search(counts.astype(np.float64), loops.BINS)
        assert gc.collect() == 0
    finally:
        gc.enable()


# ----------------------------------------------------------------------------------------------------
# the image


def test_what_the_image_is_made_from_is_sent_to_its_builder() -> None:
    sent = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    copied = re.findall(
        r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    assert copied
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert any(entry.split("/")[0] == name for entry in sent), name
