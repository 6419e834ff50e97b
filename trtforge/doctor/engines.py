"""Check TensorRT, ONNX Runtime, torch and DeepStream, and whether they work together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trtforge.devices.machine import Machine
from trtforge.devices.machine.files import Component
from trtforge.devices.stacks import mismatch, tensorrts
from trtforge.doctor.diagnosis import Diagnosis
from trtforge.doctor.driver import cuda_served, unfit, upgrade


def examine(machine: Machine) -> Iterator[Diagnosis]:
    """Yield the diagnoses of everything that builds or runs engines."""
    yield from _tensorrt(machine)
    yield from _two_tensorrts(machine)
    yield _rtx(machine)
    yield from _onnxruntime(machine)
    for name in ("torch", "pycuda"):
        if found := machine.package(name):
            why = unfit(machine, found)
            says = f"{found.version}" + (f", for CUDA {found.cuda}" if found.cuda else "")
            yield (
                Diagnosis(
                    name,
                    "note",
                    f"{why}: it computes on the processor",
                    upgrade(machine, found.cuda or ""),
                )
                if why
                else Diagnosis(name, "ok", says)
            )
    yield _deepstream(machine)


# ------------------------------------------------------------------------------------------------------------
# TensorRT


def usable(machine: Machine) -> Component | None:
    """Return the TensorRT that Python imports, if its libraries exist and the driver runs it."""
    found = imported(machine)
    return found if found and libraries(machine, found) and not unfit(machine, found) else None


def imported(machine: Machine) -> Component | None:
    """Return the TensorRT that Python imports, with the CUDA that it was built for."""
    found = machine.package("tensorrt")
    wheels = [each for each in machine.packages if re.fullmatch(r"tensorrt-cu\d+", each.name)]
    if found is None:
        return None
    system = [library for library in machine.libraries if _same(library.version, found.version)]
    same = [
        each.cuda for each in (*wheels, *system) if each.cuda and _same(each.version, found.version)
    ]
    return Component(found.name, found.version, found.where, next(iter(same), None))


def libraries(machine: Machine, found: Component) -> list[Component]:
    """Return the libraries for TensorRT's bindings, from wheels or from the system."""
    wheels = [
        each for each in machine.packages if re.fullmatch(r"tensorrt(-cu\d+)?-libs", each.name)
    ]
    return [each for each in (*wheels, *machine.libraries) if _same(each.version, found.version)]


def _tensorrt(machine: Machine) -> Iterator[Diagnosis]:
    found = imported(machine)
    if found is None:
        for library in machine.libraries:
            yield Diagnosis(
                "tensorrt",
                "note",
                f"{library.version} ({library.where}), which this Python can't import",
                bindings(machine, library),
            )
        if not machine.libraries:
            yield Diagnosis("tensorrt", "note", "none")
        return
    says = f"{found.version} in {found.where}" + (f", for CUDA {found.cuda}" if found.cuda else "")
    if not libraries(machine, found):
        yield Diagnosis(
            "tensorrt",
            "wrong",
            f"{says}: bindings without libnvinfer of that version",
            f"pip install --force-reinstall 'tensorrt=={found.version}'",
        )
    elif why := unfit(machine, found):
        served, wheels = cuda_served(machine), _wheels(machine)
        fix = upgrade(machine, found.cuda or "")
        # CUDA 12 is the oldest that TensorRT 10 has wheels for.
        if served and served >= 12 and wheels and not machine.jetson:
            fix = f"pip uninstall -y {' '.join(wheels)} && pip install 'tensorrt-cu{served}=={found.version}'"
        yield Diagnosis("tensorrt", "wrong", why, fix)
    else:
        yield Diagnosis("tensorrt", "ok", says)


def bindings(machine: Machine, library: Component) -> str:
    """Return the command after which Python can import the system's TensorRT."""
    if machine.bindings:  # they are installed, but this virtual environment does not see them
        return "python3 -m venv --system-site-packages .venv && .venv/bin/pip install trtforge"
    suffix = f"-1+cuda{library.cuda}" if library.cuda else "*"
    # Without a version, apt installs the newest bindings, which may not fit the library.
    return f"{sudo(machine)}apt-get install -y 'python3-libnvinfer={library.version}{suffix}'"


def _two_tensorrts(machine: Machine) -> Iterator[Diagnosis]:
    in_python = imported(machine)
    others = [package for package in machine.packages if package.name == "tensorrt"]
    seen = [*([in_python] if in_python else []), *others, *machine.libraries]
    distinct: list[Component] = []
    for package in seen:
        if not any(_same(package.version, other.version) for other in distinct):
            distinct.append(package)
    if len(distinct) < 2:
        return
    versions = ", ".join(f"{package.version} in {package.where}" for package in distinct)
    loads = machine.libraries[0] if machine.libraries else None
    clash = (
        machine.deepstream and in_python and loads and not _same(loads.version, in_python.version)
    )
    says = f"{len(distinct)} of them: {versions}; an engine loads only in the one that made it"
    if not clash or not in_python or not loads:
        yield Diagnosis(
            "tensorrt",
            "note",
            says + (f", and Python takes {in_python.version}" if in_python else ""),
        )
        return
    matching = [package for package in others if _same(package.version, loads.version)]
    cuda = (loads.cuda or in_python.cuda or "").split(".")[0]
    wheel = f"tensorrt-cu{cuda}" if cuda else "tensorrt"
    exact = loads.version if loads.version.count(".") == 3 else f"{loads.version}.*"
    fix = (
        f"pip uninstall -y {' '.join(_wheels(machine))}"
        if matching
        else f"pip install '{wheel}=={exact}'"
    )
    says += f": Python builds with {in_python.version}, DeepStream loads {loads.version}"
    yield Diagnosis("tensorrt", "wrong", says, fix)


def _wheels(machine: Machine) -> list[str]:
    """Return the wheels of TensorRT that hide the system's TensorRT from Python."""
    found = machine.package("tensorrt")
    if found is None or re.fullmatch(r"/usr/lib/python3[\d.]*/dist-packages", found.where):
        return []
    parts = [
        each
        for each in machine.packages
        if re.fullmatch(r"tensorrt(-cu\d+)?(-libs|-bindings)?", each.name)
    ]
    return sorted(each.name for each in parts if each.where == found.where)


def _rtx(machine: Machine) -> Diagnosis:
    found = machine.package("tensorrt-rtx")
    if found is None:
        fix = "pip install 'trtforge[rtx]'" if machine.arch == "x86_64" else ""
        return Diagnosis("tensorrt-rtx", "note", "none: it builds engines without a GPU", fix)
    cuda = next(
        (each.cuda for each in machine.packages if re.fullmatch(r"tensorrt-rtx-cu\d+", each.name)),
        None,
    )
    why = unfit(machine, Component("tensorrt-rtx", found.version, found.where, cuda))
    says = f"{found.version}" + (f", for CUDA {cuda}" if cuda else "")
    if why:
        return Diagnosis(
            "tensorrt-rtx",
            "note",
            f"{why}: it builds, but runs nothing here",
            upgrade(machine, cuda or ""),
        )
    return Diagnosis("tensorrt-rtx", "ok", says)


# ----------------------------------------------------------------------------------------------------------
# the others


def _onnxruntime(machine: Machine) -> Iterator[Diagnosis]:
    there = machine.onnxruntime
    if there is None:
        yield Diagnosis(
            "onnxruntime",
            "wrong",
            "none: calibration and every check run in it",
            "pip install onnxruntime",
        )
        return
    gpu = next((package for package in there.installed if package.name.endswith("-gpu")), None)
    wanted = gpu or next(iter(there.installed), None)
    again = (
        f"pip install --force-reinstall --no-deps '{wanted.name}=={wanted.version}'"
        if wanted
        else "pip install --force-reinstall onnxruntime"
    )
    if there.owner is None:
        names = " and ".join(package.name for package in there.installed) or "nothing"
        yield Diagnosis(
            "onnxruntime",
            "wrong",
            f"its files are gone or damaged ({names} installed): uninstalling one of "
            "its packages deletes files of the others",
            again,
        )
        return
    says = f"{there.version}: {', '.join(there.providers)}"
    if len(there.installed) > 1:
        names = " and ".join(f"{package.name} {package.version}" for package in there.installed)
        says += f"; {names} overwrite each other's files, and those there are {there.owner}'s"
        lost = gpu is not None and there.owner != gpu.name
        mixed = wanted is not None and wanted.version != there.version
        useful = bool(machine.device or machine.gpus)
        broken = (lost and useful) or mixed
        yield Diagnosis(
            "onnxruntime", "wrong" if broken else "note", says, again if lost or mixed else ""
        )
    else:
        yield Diagnosis("onnxruntime", "ok", says)
    if gpu and gpu.name == there.owner and (why := unfit(machine, gpu)):
        yield Diagnosis(
            "onnxruntime",
            "note",
            f"{why}: it computes on the processor",
            upgrade(machine, gpu.cuda or ""),
        )


def _deepstream(machine: Machine) -> Diagnosis:
    found = machine.deepstream
    if found is None:
        return Diagnosis("deepstream", "note", "none")
    loads = machine.libraries[0].version if machine.libraries else None
    if loads is None:
        return Diagnosis(
            "deepstream",
            "wrong",
            f"{found.version} in {found.where}, without TensorRT's libnvinfer",
            f"{sudo(machine)}apt-get install -y tensorrt-libs",
        )
    if tensorrts(found.version) and (why := mismatch(found.version, loads)):
        return Diagnosis("deepstream", "note", f"{found.version} in {found.where}: {why}")
    return Diagnosis("deepstream", "ok", f"{found.version} in {found.where}, with TensorRT {loads}")


def sudo(machine: Machine) -> str:
    """Return the prefix of commands that need root's rights; in a container there is none."""
    return "" if machine.container else "sudo "


def _same(one: str, other: str) -> bool:
    """Tell whether two versions may be the same release: 10.3 and 10.3.0.26, 10.6.0.post1 and 10.6.0."""
    parts = zip(one.split(".")[:3], other.split(".")[:3], strict=False)
    return all(a == b for a, b in parts)
