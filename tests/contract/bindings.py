"""Real TensorRT bindings on a machine without TensorRT: wheels from the package index, over empty
libraries.

The bindings link against libnvinfer and two more. Stand-ins that export what they ask for, each
function returning null, are enough to import them: classes, enums, signatures and calibrators are
then real, a Builder is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WHEELS = {
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.6": "tensorrt-cu12-bindings==10.6.0.post1",
    "10.16": "tensorrt-cu13-bindings==10.16.1.11",
    "11.4": "tensorrt-cu13-bindings==11.4.0.106",
}
# What `nm -D --undefined-only tensorrt.so` lists beside Python's and the C library's.
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


def cache() -> Path:
    """Wheels and libraries are kept between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "trtforge-contract" / f"cp{sys.version_info.major}{sys.version_info.minor}"


def run(version: str, *words: str) -> str:
    """What Python prints, with these bindings importable as ``tensorrt_bindings``."""
    folder = unpacked(version)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(stubs(version.partition(".")[0])),
        "PYTHONPATH": os.pathsep.join([str(folder), str(HERE.parents[1])]),
    }
    return subprocess.run(
        [sys.executable, *words], env=environment, check=True, capture_output=True, text=True
    ).stdout


def api(version: str) -> dict[str, Any]:
    """See ``describe.py``."""
    if version == "rtx":
        command = [sys.executable, str(HERE / "describe.py"), "tensorrt_rtx"]
        found: dict[str, Any] = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        return found
    described: dict[str, Any] = json.loads(
        run(version, str(HERE / "describe.py"), "tensorrt_bindings")
    )
    return described


def unpacked(version: str) -> Path:
    """The wheel's contents.

    Skips the test where the index can't be reached or has no wheel for this Python; fails in CI.
    """
    folder = cache() / version
    if (folder / "tensorrt_bindings").is_dir():
        return folder
    if version == "10.3" and sys.version_info >= (3, 13):
        pytest.skip("TensorRT 10.3 has no bindings for Python 3.13")
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        WHEELS[version],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        missing(
            f"needs {WHEELS[version]} from the package index, for Python {sys.version_info[:2]}: {reason}"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(folder)
    return folder


def stubs(major: str) -> Path:
    """Libraries whose functions return null."""
    folder = cache() / f"stubs-{major}"
    wanted = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
    if all((folder / f"lib{name}.so.{major}").is_file() for name in wanted):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for name in wanted:
        given = source if name == "nvinfer" else "/dev/null"
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-x",
            "c",
            "-o",
            str(folder / f"lib{name}.so.{major}"),
            str(given),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except FileNotFoundError:
            missing("needs gcc for the libraries that the bindings link against")
    return folder


def missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
