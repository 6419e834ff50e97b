"""The command line: a command parses options, calls an API function, and prints the result.

Heavy imports live inside command bodies: ``--help`` imports little more than typer. A command's options are
those of its API function, and are expanded when it is run (see ``trtforge.cli.expand``).
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from trtforge import present
from trtforge.cli import catalogue, deepstream, fleet, judge, machine, make, steps
from trtforge.cli.expand import add
from trtforge.cli.terminal import Terminal
from trtforge.errors import ForgeError, foreseen
from trtforge.version import __version__


class _Reporting(TyperGroup):
    """The group of all commands, which prints an error of the user as a line and a hint.

    Any other error is a bug, and keeps its traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # An empty value most likely comes from an unset variable of the shell. As a path, it would
        # mean the current folder.
        for previous, arg in zip(["", *args], args, strict=False):
            if not arg or (arg.startswith("--") and arg.endswith("=")):
                name = arg.rstrip("=") or (previous if previous.startswith("-") else "an argument")
                _report(ForgeError(f"{name} has no value", "is a variable unset?"))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ForgeError as error:
            _report(error)
        except OSError as error:
            if not (problem := foreseen(error)):
                raise
            _report(problem)
        except KeyboardInterrupt:
            print("interrupted; finished stages are kept", file=sys.stderr)
            raise typer.Exit(130) from None


def _report(error: ForgeError) -> NoReturn:
    print(f"error: {error.problem}", file=sys.stderr)
    if error.hint:
        print(f" hint: {error.hint}", file=sys.stderr)
    raise typer.Exit(error.code) from None


app = typer.Typer(
    cls=_Reporting,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From an ONNX model to calibrated TensorRT engines and DeepStream configuration.\n\n"
    "Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090\n\n"
    "Exit codes: 0 done, 1 refused by the builder, 2 wrong input, 3 missing on this machine, 4 a gate was not met.",
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    present.install(Terminal())
    if version:
        print(f"trtforge {__version__}")
        raise typer.Exit


COMMANDS = (
    make.build,
    make.prepare,
    steps.export,
    steps.fold,
    steps.calibrate,
    steps.quantize,
    make.tune,
    steps.cast,
    steps.patch,
    judge.verify,
    make.sweep,
    judge.bench,
    judge.detect,
    judge.report,
    judge.diff,
    judge.reduce,
    fleet.matrix,
    catalogue.devices,
    machine.doctor,
    machine.clean,
)
for command in COMMANDS:
    add(app, command)
app.add_typer(catalogue.recipes, name="recipes")
app.add_typer(deepstream.app, name="deepstream")


def main() -> None:
    """Entry point of the ``trtforge`` command."""
    # Imported modules stay in memory until the end, but with Python's default threshold the
    # garbage collector scans them again and again: that takes a fifth of the time until a command
    # starts, and as long again when Python ends.
    gc.set_threshold(100_000)
    # trtforge needs no plugins of pydantic, which reads the metadata of every installed package to
    # find them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    stdout = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name with characters that the terminal can't show must not make a command fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            # click replaces stdout when a pipe breaks, and then exits with 1.
            if sys.stdout is not stdout:
                raise BrokenPipeError
            stdout.flush()
            gc.freeze()
    except BrokenPipeError:
        # The reader of the pipe has ended. Python must not report what it can't flush at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.exit(128 + signal.SIGPIPE)
