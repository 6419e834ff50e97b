"""The timing cache: how long each kernel took, kept for every later build on the same GPU."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends._bindings import need, title
from trtforge.errors import ForgeError, MachineError

if TYPE_CHECKING:
    import tensorrt


def use(trt: Any, config: tensorrt.IBuilderConfig, file: Path) -> None:
    """Give the builder what earlier builds have measured.

    Raises:
        ForgeError: ``file`` can't be read or written.
        MachineError: it was made on another GPU or by another TensorRT.
    """
    need(
        trt,
        "--timing-cache",
        "IBuilderConfig.create_timing_cache",
        "IBuilderConfig.set_timing_cache",
    )
    with _locked(file):
        known = _read(file)
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        raise MachineError(
            f"{file}: a timing cache of another GPU or TensorRT; this is {title(trt)}",
            "give another file with --timing-cache",
        )


def keep(config: tensorrt.IBuilderConfig, file: Path) -> None:
    """Add what this build has measured; builds that ran beside it lose nothing."""
    measured = config.get_timing_cache()
    with _locked(file):
        others = config.create_timing_cache(_read(file))
        if others is not None:
            measured.combine(others, False)
        content = bytes(measured.serialize())
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One process at a time. The lock lies beside the file, which is replaced as a whole."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.with_name(f"{file.name}.lock").open("w")
    except OSError as error:
        raise ForgeError(
            f"{file}: can't be written ({error.strerror})", "give another file with --timing-cache"
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ForgeError(
            f"{file}: can't be read ({error.strerror})", "give another file with --timing-cache"
        ) from error
