"""Commands that show what is installed on this machine, and delete old files of the store."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.expand import plain_command
from trtforge.cli.output import AsJson, show


@plain_command
def doctor(
    device: Annotated[
        Optional[str], typer.Option(help="Say what is missing to build for this device here.")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Root folder to look at, such as a disk or an unpacked image.")
    ] = Path("/"),
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what fits together, what is missing, and the command that fixes it.

    Exit code 3: something that is needed is missing or does not fit.

    Example: trtforge doctor --device orin-nx
    """
    from trtforge import devices
    from trtforge import doctor as doctor_
    from trtforge.devices.machine import probe
    from trtforge.errors import ForgeError
    from trtforge.store import default_root

    if not root.is_dir():
        raise ForgeError(f"{root}: no such folder", "give the root folder of a machine")
    target = devices.device(device) if device else None
    machine = probe(root, default_root())
    findings = doctor_.examine(machine, target)
    document = doctor_.document(machine, target, findings)
    show(as_json, document, lambda: doctor_.text(findings))
    doctor_.gate(findings)


@plain_command
def clean(
    older_than: Annotated[
        Optional[str], typer.Option(help="Delete files that were not used for this long: 30d, 12h.")
    ] = None,
    max_size: Annotated[
        Optional[str],
        typer.Option(
            help="Delete the least recently used files until the rest fits into this size: "
            "20GB. Files used in the last hour stay."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old files of the store; trtforge makes them again when they are needed.

    Example: trtforge clean --older-than 30d --max-size 20GB --dry-run
    """
    import time

    from trtforge import present
    from trtforge.options.values import parse_memory, parse_seconds
    from trtforge.store import clean as clean_
    from trtforge.store import default_root

    root = default_root()
    age = parse_seconds(older_than, "--older-than") if older_than else None
    now = time.time()
    cleaning = clean_.plan(root, age, parse_memory(max_size, "--max-size "), now)
    if not dry_run:
        with present.progress("cleaning", len(cleaning.gone)) as bar:
            cleaning = clean_.carry_out(root, cleaning, bar)
    document = clean_.document(root, cleaning, dry_run)
    show(as_json, document, lambda: clean_.text(root, cleaning, dry_run, now))
