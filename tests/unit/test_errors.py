"""Exit codes, messages, and a command line that starts light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from trtforge.errors import BuildError, ForgeError, GateError, MachineError

HEAVY = {"numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "pydantic", "torch", "numba", "PIL", "yaml", "jinja2"}
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
        [sys.executable, "-m", "trtforge", *words], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(("kind", "code"), [(ForgeError, 2), (BuildError, 1), (MachineError, 3), (GateError, 4)])
def test_exit_codes(kind: type[ForgeError], code: int) -> None:
    error = kind("a problem", "a hint")
    assert (error.code, error.problem, error.hint, str(error)) == (code, "a problem", "a hint", "a problem")


def loaded(*words: str) -> set[str]:
    """Modules that were imported when the command ended."""
    done = subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True, check=True, timeout=120)
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
