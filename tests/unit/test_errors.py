"""Exit codes, messages, and a command line that starts light."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trtforge.errors import BuildError, ForgeError, GateError, MachineError, foreseen

HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "onnx_graphsurgeon",
    "pydantic",
    "torch",
    "PIL",
    "yaml",
    "jinja2",
}
HELP = """
import contextlib, json, sys
sys.argv[0] = "trtforge"
from trtforge.cli import main
with contextlib.suppress(SystemExit):
    main()
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def trtforge(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trtforge", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("kind", "code"), [(ForgeError, 2), (BuildError, 1), (MachineError, 3), (GateError, 4)]
)
def test_exit_codes(kind: type[ForgeError], code: int) -> None:
    error = kind("a problem", "a hint")
    assert (error.code, error.problem, error.hint, str(error)) == (
        code,
        "a problem",
        "a hint",
        "a problem",
    )


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # as a full disk: the write itself fails
from trtforge.cli import main
main()
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, store_root: Path) -> None:
    onnx = Path(__file__).parents[2] / "recipes" / "demo" / "demo.onnx"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clean.onnx").write_bytes(b"before")
    for words in (
        ["fold", onnx, "--no-check", "-o", tmp_path / "out" / "clean.onnx"],
        ["prepare", onnx, "--no-check", "-o", tmp_path / "out" / "prepared"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", FULL, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert (done.returncode, len(errors)) == (3, 1), done.stderr
        assert "can't be written (file too large)" in errors[0] and "Traceback" not in done.stderr
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()] == [
        ("clean.onnx", b"before")
    ]
    assert [path for path in store_root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("number", "path", "code"),
    [
        (errno.ENOSPC, None, 3),
        (errno.EDQUOT, "a", 3),
        (errno.EACCES, "a", 2),
        (errno.EROFS, "a", 2),
        (errno.EACCES, None, None),
        (errno.ENOENT, "a", None),
        (None, None, None),
    ],
)
def test_what_a_file_system_refuses(number: int, path: str | None, code: int | None) -> None:
    error = OSError(number, os.strerror(number), path) if number else OSError("nothing said")
    said = foreseen(error)
    assert (said.code if said else None) == code
    assert said is None or (said.hint and (path is None or said.problem.startswith("a: ")))


def loaded(*words: str) -> set[str]:
    """Modules that were imported when the command ended."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_nothing_heavy() -> None:
    assert sorted(HEAVY & loaded("--help")) == []


@pytest.mark.parametrize("words", [("build", "--help"), ("fold", "--help"), ("--version",)])
def test_help_of_a_command_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    # Typer itself imports Pydantic, where it is installed, once it handles options.
    assert sorted((HEAVY - {"pydantic"}) & loaded(*words)) == []


def test_an_error_is_two_lines_and_a_code() -> None:
    done = trtforge("fold", "no-such-model.onnx", "-o", "out.onnx")
    assert done.returncode == 2
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == "error: no-such-model.onnx: no such file"
    assert hint.startswith(" hint: ")


def test_an_unknown_option_is_the_users_error() -> None:
    done = trtforge("build", "--no-such-option")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
