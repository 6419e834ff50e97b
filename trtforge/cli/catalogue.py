"""Commands that list what trtforge knows: devices and recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from trtforge.cli.arguments import AsJson
from trtforge.cli.output import result

recipes = typer.Typer(
    rich_markup_mode=None,
    help="List the recipes that come with trtforge, or show one.\n\nExample: trtforge recipes show yolov7",
)


def devices(as_json: AsJson = False) -> None:
    """List the devices that engines can be built for.

    Example: trtforge devices
    """
    from dataclasses import asdict

    from trtforge import present
    from trtforge.devices import catalogue

    rows = [[device.name, device.title, f"SM{device.sm}", f"{device.memory_gib or '?'} GiB",
             " ".join(device.precisions), "yes" if device.rtx_serves else "on the device"]
            for device in catalogue().values()]  # fmt: skip
    header = ["name", "device", "SM", "memory", "precisions", "builds here without a GPU"]
    result(as_json, [asdict(device) for device in catalogue().values()], present.table(rows, header))


@recipes.callback(invoke_without_command=True)
def _recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes that come with trtforge.

    Example: trtforge recipes
    """
    if context.invoked_subcommand:
        return
    from trtforge import present
    from trtforge import recipe as known

    found = [known.load(known.find(name)) for name in known.names()]
    rows = [[each.name, each.description] for each in found]
    result(as_json, [each.model_dump(mode="json") for each in found], present.table(rows, ["name", "for"]))


@recipes.command()
def show(name: Annotated[str, typer.Argument(help="Name of the recipe.")], as_json: AsJson = False) -> None:
    """Print a recipe.

    Example: trtforge recipes show yolov7
    """
    from trtforge import recipe as known

    path = known.find(name)
    result(as_json, known.load(path).model_dump(mode="json"), path.read_text(encoding="utf-8").rstrip())
