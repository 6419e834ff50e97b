"""Check the machine, its GPU, driver, memory and disk."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.devices.machine import Machine
from trtforge.doctor.diagnosis import Diagnosis
from trtforge.doctor.driver import cuda_served
from trtforge.present import size

# Quantizing YOLOv7, with 37 million parameters, takes 2.0 GB (README).
LEAST_MEMORY = 3 << 30
LEAST_DISK = 5 << 30


def examine(machine: Machine) -> Iterator[Diagnosis]:
    """Yield the diagnoses of the machine itself."""
    says = f"{machine.system or 'Linux'}, {machine.arch}, Python {machine.python or 'none'}"
    yield Diagnosis(
        "machine",
        "ok",
        says + (f", in a container ({machine.container})" if machine.container else ""),
    )
    if machine.jetson:
        parts = [("JetPack", machine.jetpack), ("Jetson Linux", machine.l4t)]
        versions = ", ".join(f"{name} {version}" for name, version in parts if version)
        yield Diagnosis(
            "jetpack", "ok" if versions else "note", versions or "unknown: no /etc/nv_tegra_release"
        )
    yield _gpu(machine)
    yield _driver(machine)
    for found in machine.toolkits:
        yield Diagnosis("cuda", "ok", f"toolkit {found.version} in {found.where}")
    for about, amount, least in (
        ("memory", machine.memory, LEAST_MEMORY),
        ("disk", machine.disk, LEAST_DISK),
    ):
        if amount is not None:
            short = amount < least
            free = " free" if about == "disk" else ""
            yield Diagnosis(
                about,
                "note" if short else "ok",
                f"{size(amount)}{free}"
                + (f": less than {size(least)}, large models may not fit" if short else ""),
                "trtforge clean --older-than 7d" if short and about == "disk" else "",
            )


def _gpu(machine: Machine) -> Diagnosis:
    if machine.device:
        many = f", {len(machine.gpus)} of them" if len(machine.gpus) > 1 else ""
        return Diagnosis(
            "gpu",
            "ok",
            f"{machine.device.title} (SM{machine.device.sm}): {machine.device.name}{many}",
        )
    if machine.gpus:
        return Diagnosis(
            "gpu",
            "note",
            f"{machine.gpus[0].name}, which is not in the catalogue: compute capability "
            "unknown without nvidia-smi",
            _with_gpu(machine),
        )
    if machine.board:
        return Diagnosis(
            "gpu",
            "note",
            f"{machine.board}, which is not in the catalogue",
            "trtforge devices jetson",
        )
    if machine.jetson:
        return Diagnosis(
            "gpu",
            "note",
            "a Jetson; the container hides which one",
            "docker run --runtime nvidia --security-opt systempaths=unconfined ...",
        )
    if machine.container and machine.driver:
        says = "the host has an NVIDIA driver, but gave this container no GPU"
        return Diagnosis("gpu", "note", says, _with_gpu(machine))
    return Diagnosis("gpu", "note", "no NVIDIA GPU")


def _driver(machine: Machine) -> Diagnosis:
    served = cuda_served(machine)
    driver = f"{machine.driver or 'version unknown'}" + (f", runs CUDA {served}" if served else "")
    if machine.compat:
        driver += f"; cuda-compat {machine.compat}, for data-centre GPUs"
    here = machine.device or machine.gpus or machine.devices
    if here and not machine.libcuda:
        return Diagnosis(
            "driver",
            "wrong",
            f"{driver}: libcuda.so.1 is missing, without which no program reaches the GPU",
            _with_gpu(machine) if machine.container else _reinstall(machine),
        )
    if machine.driver or machine.libcuda:
        return Diagnosis("driver", "ok", driver)
    return Diagnosis("driver", "note", "none")


def _with_gpu(machine: Machine) -> str:
    if machine.jetson:
        return "docker run --runtime nvidia ..."
    if machine.container == "kubernetes":
        return "resources: {limits: {nvidia.com/gpu: 1}}, in the pod's container"
    if machine.container:
        return "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video ..."
    return "nvidia-smi"


def _reinstall(machine: Machine) -> str:
    if machine.jetson:
        return "sudo apt-get install -y --reinstall nvidia-l4t-cuda"
    branch = (machine.driver or "580").split(".")[0]
    return f"sudo apt-get install -y --reinstall libnvidia-compute-{branch}"
