"""Commands that list what trtforge knows: devices and recipes."""

from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import AsJson
from trtforge.cli.output import result

recipes = typer.Typer(
    rich_markup_mode=None,
    help="List the recipes that come with trtforge, or show one.\n\nExample: trtforge recipes show yolov7",
)


def devices(
    words: Annotated[
        Optional[list[str]],
        typer.Argument(
            help="Keep devices that all of the words fit: part of the "
            "name, jetson, datacenter, geforce, workstation, sm89, a precision, dla, rtx."
        ),
    ] = None,
    detect: Annotated[bool, typer.Option("--detect", help="Name this machine's device.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the devices that engines can be built for.

    A file of your own adds to them: $TRTFORGE_DEVICES, or trtforge/devices.yaml in ~/.config. Its
    entries say
    `like: NAME` of a device below, and what differs.

    Example: trtforge devices jetson int8
    """
    from dataclasses import asdict

    from trtforge import devices as known
    from trtforge import present
    from trtforge.errors import ForgeError, MachineError

    if detect:
        here = known.this_machine()
        if here is None:
            raise MachineError(
                "no NVIDIA GPU on this machine", "`trtforge doctor` says what was looked for"
            )
        found = [here]
    else:
        every = known.catalogue().values()
        found = [
            device for device in every if all(known.fits(device, word) for word in words or [])
        ]
    if not found:
        raise ForgeError(f"no device fits {' '.join(words or [])}", "`trtforge devices` lists all")
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
            "yes"
            if device.rtx_serves
            else "on the device"
            if device.typed
            else "its DeepStream does",
        ]
        for device in found
    ]
    header = [
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
    result(as_json, [asdict(device) for device in found], present.table(rows, header))


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
    result(
        as_json,
        [each.model_dump(mode="json") for each in found],
        present.table(rows, ["name", "for"]),
    )


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the recipe.")], as_json: AsJson = False
) -> None:
    """Print a recipe.

    Example: trtforge recipes show yolov7
    """
    from trtforge import recipe as known

    path = known.find(name)
    result(
        as_json, known.load(path).model_dump(mode="json"), path.read_text(encoding="utf-8").rstrip()
    )
