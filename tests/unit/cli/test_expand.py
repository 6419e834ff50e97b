"""API functions as commands: each option once, and the groups reach the function."""

import inspect
import json
import subprocess
import sys
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from trtforge.api import make
from trtforge.cli import COMMANDS, deepstream, expand
from trtforge.cli.expand import add, command, expanded
from trtforge.errors import GateError
from trtforge.options.nms import Nms
from trtforge.options.option import Argument, Group, Option

ALL = [*COMMANDS, deepstream.config, deepstream.pipeline, deepstream.lint, deepstream.triton]


def shown(
    name: Annotated[str, Argument(help="A name.")],
    *,
    nms: Annotated[Nms, Group(Nms, without=("nms_impl",))],
    words: Annotated[list[str] | tuple[str, ...], Option(reads=str, repeated=True)] = (),
    check: Annotated[bool, Option(("--no-check",), inverted=True)] = True,
    most: Annotated[float | None, Option(low=0, high=1)] = None,
    python_only: int = 3,
) -> dict[str, Any]:
    """Return the arguments."""
    if most == 1:
        error = GateError("over 0.9")
        error.result = {"name": name}
        raise error
    return {"name": name, "nms": nms, "words": words, "check": check, "python": python_only}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setattr(expand, "_api_function", lambda path: shown)

    @command("tests.shown", before={"iou": "score"})
    def show(result: dict[str, Any]) -> str:
        """Show arguments."""
        return f"text of {result['name']}"

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    add(app, show)

    @app.command()
    def other() -> None:
        """Another command, for an app of commands."""

    return app


def test_options_reach_the_function_as_its_arguments(app: typer.Typer) -> None:
    words = ["show", "a", "--iou", "0.5", "--words", "x", "--words", "y", "--no-check", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["name"], document["words"], document["check"]) == ("a", ["x", "y"], False)
    assert document["nms"]["iou"] == 0.5
    assert document["python"] == 3


def test_defaults_are_those_of_the_function(app: typer.Typer) -> None:
    document = json.loads(CliRunner().invoke(app, ["show", "a", "--json"]).stdout)
    assert document["words"] == []
    assert document["check"] is True
    assert document["nms"]["nms"] == "auto"


def test_help(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["show", "--help"]).output
    assert text.index("--iou") < text.index("--score")
    assert "--nms-impl" not in text
    assert "--python-only" not in text
    assert "0<=x<=1" in text


def test_a_gate_that_is_not_met_still_shows_the_result(app: typer.Typer) -> None:
    done = CliRunner().invoke(app, ["show", "a", "--most", "1"])
    assert isinstance(done.exception, GateError)
    assert done.stdout == "text of a\n"


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_every_command_has_help_for_each_option(each: expand.Command) -> None:
    real = expanded(each)
    assert each.help.startswith(each.help[0].upper())
    assert "Example: trtforge" in each.help
    for parameter in real.params:
        assert getattr(parameter, "help", None), f"{each.name} {parameter.name}"


def test_build_has_the_options_of_the_function() -> None:
    build = next(each for each in COMMANDS if each.name == "build")
    names = {parameter.name for parameter in expanded(build).params}
    assert {"model", "int8", "workspace", "nms", "dla", "as_json"} <= names
    assert not {"precision", "builder", "progress"} & names
    assert set(inspect.signature(make.build).parameters) >= {"precision", "builder", "progress"}


def test_help_of_all_commands_imports_no_api_function() -> None:
    program = "import sys, trtforge.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert not {name for name in modules if name.startswith("trtforge.api.")}
    assert not modules & {"numpy", "onnx", "pydantic", "yaml", "PIL", "rich"}
