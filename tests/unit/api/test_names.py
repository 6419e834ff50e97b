"""The names that `trtforge` exports: all there, none shadowed, and none heavy."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import trtforge

# What `import trtforge`, or a function of the API that has not been called, must not import.
HEAVY = "numpy onnx onnxruntime polygraphy pydantic PIL torch typer yaml rich".split()
FUNCTIONS = [name for name in trtforge.__all__ if inspect.isfunction(getattr(trtforge, name))]


def imported_after(code: str) -> set[str]:
    program = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_trtforge_imports_nothing_of_it() -> None:
    modules = imported_after("import trtforge")
    assert not modules & set(HEAVY)
    ours = {name for name in modules if name.startswith("trtforge")}
    assert ours == {"trtforge", "trtforge.version"}


def test_names_are_cheap_until_they_are_called() -> None:
    names = ", ".join(f"trtforge.{name}" for name in trtforge.__all__)
    assert not imported_after(f"import trtforge; {names}") & set(HEAVY)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(trtforge.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {name: module for module, names in trtforge._MODULES.items() for name in names}
    assert seen == lazy
    assert set(lazy) == set(trtforge.__all__) <= set(dir(trtforge))


def test_a_submodule_never_takes_the_place_of_a_function() -> None:
    package = Path(str(trtforge.__file__)).parent
    modules = {path.stem for path in package.iterdir()}
    assert not modules & set(trtforge.__all__)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'forge'"):
        trtforge.forge  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_described(name: str) -> None:
    """Where there are arguments of its own, each is in the docstring."""
    function = getattr(trtforge, name)
    text = inspect.getdoc(function) or ""
    section = text.partition("Args:")[2].partition("Raises:")[0]
    if "The arguments are those of" in text or not inspect.signature(function).parameters:
        return
    described = {
        word.strip()
        for line in section.splitlines()
        if ":" in line
        for word in line.partition(":")[0].split(",")
    }
    missing = set(inspect.signature(function).parameters) - described
    assert not missing
