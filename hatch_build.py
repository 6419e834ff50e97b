"""Compiles trtforge's inner loops as a wheel is built, an editable one too."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "trtforge/calibrate/loops.c"
LIBRARY = "trtforge/calibrate/libloops.so"
# No fused multiply-add: ranges are the same on every processor.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-s"]
ZIG = "ziglang"  # a C compiler from the package index, for where there is no other


class CompileLoops(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        return [] if _compiler() or os.environ.get("CC") else [ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compiler = _compiler()
        if not compiler:
            tried = ", ".join(map(shlex.join, _candidates()))
            raise RuntimeError(f"no C compiler that works ({tried}): install one, or name one in CC")
        library = Path(self.root, LIBRARY)
        draft = library.with_name(f"{library.name}.{os.getpid()}")  # whoever runs keeps the library that it has
        try:
            subprocess.run([*compiler, *FLAGS, "-o", draft, Path(self.root, SOURCE), "-lm"], check=True)
            draft.replace(library)
        finally:
            draft.unlink(missing_ok=True)
        # One wheel for all versions of Python: the library knows nothing of it.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["pure_python"] = False
        build_data["artifacts"].append(f"/{LIBRARY}")


def _compiler() -> list[str] | None:
    """The first command that compiles C here, and finds C's headers."""
    return next((command for command in _candidates() if _works(command)), None)


def _candidates() -> list[list[str]]:
    if asked := os.environ.get("CC"):
        return [shlex.split(asked)]
    zig = [[sys.executable, "-m", ZIG, "cc"]] if importlib.util.find_spec(ZIG) else []
    return [["cc"], ["gcc"], ["clang"], *zig]


def _works(command: list[str]) -> bool:
    program = b"#include <math.h>\n"
    try:
        done = subprocess.run([*command, "-E", "-xc", "-"], input=program, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0
