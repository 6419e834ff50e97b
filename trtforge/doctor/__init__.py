"""Check whether the parts of a machine work together, and name a command for each fault.

The checks use only a :class:`trtforge.devices.machine.Machine`: they read no file and run nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trtforge.devices import Device
from trtforge.devices.machine import Machine
from trtforge.doctor import engines, here, target
from trtforge.doctor.diagnosis import Diagnosis
from trtforge.errors import MachineError


def examine(machine: Machine, device: Device | None = None) -> list[Diagnosis]:
    """Return the diagnoses of a machine, and of building for a device on it.

    Args:
        device: the target; None is the machine's GPU, or its processor.
    """
    return [*here.examine(machine), *engines.examine(machine), *target.examine(machine, device)]


def document(machine: Machine, device: Device | None, findings: list[Diagnosis]) -> dict[str, Any]:
    """Return the document for ``--json``."""
    return {
        "machine": asdict(machine),
        "device": device.name if device else None,
        "findings": [asdict(finding) for finding in findings],
        "ok": all(finding.state != "wrong" for finding in findings),
    }


def text(findings: list[Diagnosis]) -> str:
    """Return a line for each diagnosis, followed by the command that corrects the fault."""
    width = max(len(finding.about) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<5}  {finding.about:<{width}}  {finding.says}")
        lines += [f"{'':<{width + 9}}$ {finding.fix}"] if finding.fix else []
    return "\n".join(lines)


def gate(findings: list[Diagnosis]) -> None:
    """Check that nothing is wrong.

    Raises:
        MachineError: a needed part is missing or unfit.
    """
    if wrong := [finding.about for finding in findings if finding.state == "wrong"]:
        raise MachineError(
            f"missing or unfit: {', '.join(dict.fromkeys(wrong))}",
            "see the command below each line that begins with `wrong`",
        )
