"""Compiles trtforge's inner loops as a wheel is built, an editable one too."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "trtforge/calibration/loops.c"
LIBRARY = "trtforge/calibration/libloops.so"
# No fused multiply-add: some processors have none.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-s"]
ZIG = "ziglang"  # a C compiler from the package index, for where there is no other


class CompileLoops(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        if not os.environ.get("CC"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    compile_loops(Path(self.root, SOURCE), Path(folder, "libloops.so"))
                except RuntimeError:
                    return [ZIG]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        made = Path(self._folder.name, "libloops.so")
        compile_loops(Path(self.root, SOURCE), made)
        if version == "editable":
            library = Path(self.root, LIBRARY)
            shutil.copyfile(made, f"{library}.new")
            os.replace(f"{library}.new", library)  # whoever runs keeps the one that it has open
        else:  # the checkout may be read-only, or hold the library of an editable installation
            build_data["force_include"][os.fspath(made)] = LIBRARY
        # One wheel for all versions of Python: the library knows nothing of it.
        build_data["tag"] = (
            f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        )
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()


def compile_loops(source: Path, library: Path) -> None:
    """With the first compiler that can: the source's digest is compiled in, and looked at when the
    library is loaded.

    Raises:
        RuntimeError: none can; with what each said.
    """
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    arguments = [*FLAGS, f'-DSOURCE="{digest}"', "-o", os.fspath(library), os.fspath(source), "-lm"]
    said = []
    for command in _compilers():
        try:
            done = subprocess.run(
                [*command, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            said.append(f"{shlex.join(command)}: {error.strerror}")
            continue
        if done.returncode == 0:
            return
        said.append(f"{shlex.join(command)}: {done.stderr.strip()}")
    hint = f"install a C compiler, name one in CC, or `pip install {ZIG}`"
    raise RuntimeError("\n".join([f"{source.name} can't be compiled: {hint}", *said]))


def _compilers() -> list[list[str]]:
    if asked := os.environ.get("CC"):
        return [shlex.split(asked)]
    # By itself Zig compiles for the processor that it runs on, and no wheel says for which one it
    # is.
    zig = (
        [[sys.executable, "-m", ZIG, "cc", "-mcpu=baseline"]]
        if importlib.util.find_spec(ZIG)
        else []
    )
    return [["cc"], ["gcc"], ["clang"], *zig]
