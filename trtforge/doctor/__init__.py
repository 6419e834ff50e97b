"""What of a machine works with what, what is missing, and the command that puts it right.

Everything here is decided from a :class:`trtforge.devices.machine.Machine`: no file is read and
nothing is run.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trtforge.devices import Device
from trtforge.devices.machine import Machine
from trtforge.doctor import engines, here, target
from trtforge.doctor.finding import Finding
from trtforge.errors import MachineError


def examine(machine: Machine, device: Device | None = None) -> list[Finding]:
    """Findings on the machine itself and, if asked, on building for a device there.

    Args:
        device: the target; None: this machine's GPU, or its processor.
    """
    return [*here.examine(machine), *engines.examine(machine), *target.examine(machine, device)]


def document(machine: Machine, device: Device | None, findings: list[Finding]) -> dict[str, Any]:
    """All of it, for ``--json``."""
    return {
        "machine": asdict(machine),
        "device": device.name if device else None,
        "findings": [asdict(finding) for finding in findings],
        "ok": all(finding.state != "wrong" for finding in findings),
    }


def text(findings: list[Finding]) -> str:
    """A line for each finding, and below it the command that puts it right."""
    width = max(len(finding.about) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<5}  {finding.about:<{width}}  {finding.says}")
        lines += [f"{'':<{width + 9}}$ {finding.fix}"] if finding.fix else []
    return "\n".join(lines)


def gate(findings: list[Finding]) -> None:
    """
    Raises:
        MachineError: something that is needed is missing or unfit.
    """
    if wrong := [finding.about for finding in findings if finding.state == "wrong"]:
        raise MachineError(
            f"needed here, and missing or unfit: {', '.join(dict.fromkeys(wrong))}",
            "the lines that begin with `wrong` say what puts it right",
        )
