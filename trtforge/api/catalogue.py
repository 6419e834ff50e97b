"""List the devices and recipes that trtforge knows."""

from typing import TYPE_CHECKING, Annotated

from trtforge.errors import ForgeError, MachineError
from trtforge.options.option import Argument, Option
from trtforge.options.values import Names, names_of

if TYPE_CHECKING:
    from trtforge.devices import Device
    from trtforge.recipe import Recipe


def list_devices(
    words: Annotated[
        Names,
        Argument(
            help="Keep devices that all of the words fit: part of the name, jetson, datacenter, "
            "geforce, workstation, sm89, a precision, dla, rtx.",
            reads=str,
            repeated=True,
        ),
    ] = (),
    *,
    detect: Annotated[bool, Option(("--detect",), help="Name this machine's device.")] = False,
) -> "list[Device]":
    """Return the devices that engines can be built for.

    Args:
        words: keep devices that all of the words fit: part of the name, "jetson", "datacenter",
            "geforce", "workstation", "sm89", a precision, "dla" or "rtx".
        detect: only the device of this machine.

    Raises:
        ForgeError: no device fits.
        MachineError: there is no GPU on this machine.
    """
    from trtforge import devices

    if detect:
        here = devices.this_machine()
        if here is None:
            raise MachineError(
                "no NVIDIA GPU on this machine", "`trtforge doctor` says what was looked for"
            )
        return [here]
    wanted = names_of(words)
    found = [
        device
        for device in devices.catalogue().values()
        if all(devices.fits(device, word) for word in wanted)
    ]
    if not found:
        raise ForgeError(f"no device fits {' '.join(wanted)}", "`trtforge devices` lists all")
    return found


def list_recipes() -> "list[Recipe]":
    """Return the recipes that come with trtforge."""
    from trtforge import recipe

    return [recipe.load(recipe.find(name)) for name in recipe.names()]
