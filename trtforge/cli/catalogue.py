"""Commands that list the devices and recipes that come with trtforge."""

from typing import TYPE_CHECKING, Annotated

import typer

from trtforge.cli.expand import add, command, plain_command
from trtforge.cli.output import AsJson
from trtforge.cli.output import show as show_result

if TYPE_CHECKING:
    from trtforge.devices import Device

HEADER = [
    "name",
    "device",
    "SM",
    "memory",
    "precisions",
    "DeepStream",
    "TensorRT",
    "JetPack",
    "builds here without a GPU",
]

recipes = typer.Typer(
    rich_markup_mode=None,
    help="List the recipes that come with trtforge, or show one.\n\n"
    "Example: trtforge recipes show yolov7",
)


@command("catalogue.list_devices")
def devices(result: "list[Device]") -> str:
    """List the devices that engines can be built for.

    You can add devices in your own file: $TRTFORGE_DEVICES, or trtforge/devices.yaml in ~/.config.
    An entry names a similar device with `like: NAME`, and has the keys that differ.

    Example: trtforge devices jetson int8
    """
    from trtforge import present

    rows = [
        [
            device.name,
            device.title,
            f"SM{device.sm}",
            f"{device.memory_gib:g} GiB" if device.memory_gib else "?",
            " ".join(device.precisions),
            device.deepstream or "?",
            device.tensorrt or "?",
            device.jetpack or "",
            _built_here(device),
        ]
        for device in result
    ]
    return present.table(rows, HEADER)


def _built_here(device: "Device") -> str:
    if device.rtx_serves:
        return "yes"
    return "on the device" if device.typed else "its DeepStream does"


@recipes.callback(invoke_without_command=True)
def _recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes that come with trtforge.

    Example: trtforge recipes
    """
    if context.invoked_subcommand:
        return
    from trtforge import present
    from trtforge.api import catalogue

    found = catalogue.list_recipes()
    rows = [[recipe.name, recipe.description] for recipe in found]
    documents = [recipe.model_dump(mode="json") for recipe in found]
    show_result(as_json, documents, lambda: present.table(rows, ["name", "for"]))


def show(
    name: Annotated[str, typer.Argument(help="Name of the recipe.")], as_json: AsJson = False
) -> None:
    """Print a recipe.

    Example: trtforge recipes show yolov7
    """
    from trtforge import recipe

    path = recipe.find(name)
    document = recipe.load(path).model_dump(mode="json")
    show_result(as_json, document, lambda: path.read_text(encoding="utf-8").rstrip())


add(recipes, plain_command(show))
