"""Build engines with TensorRT for RTX, also for other GPUs or on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends import _plan, _trt
from trtforge.backends._bindings import title
from trtforge.backends._config import need_implicit
from trtforge.backends._driver import machine
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.devices import RTX_SERVES, Device
from trtforge.errors import MachineError

if TYPE_CHECKING:
    import tensorrt_rtx as tensorrt_api

    from trtforge.backends._session import Session

# Options that TensorRT-RTX 1.7 ignores (the engine stays the same byte for byte, or the builder
# only warns) or can't serve. Field of BuildOptions -> option, reason. Seen in builds of the demo
# detector; --sparsity in builds of a detector with pruned FP16 weights.
UNSERVED = {
    "opt_level": ("--opt-level", "ignores the optimisation level: it times no kernels"),
    "tactic_sources": ("--tactic-sources", "ignores tactic sources"),
    "timing_cache": ("--timing-cache", "has no timing cache: it times no kernels"),
    "sparsity": ("--sparsity", "ignores sparsity"),
    "hardware_compatible": (
        "--hardware-compatible",
        "builds for named compute capabilities instead",
    ),
    "version_compatible": (
        "--version-compatible",
        "comes without the lean runtime that this needs",
    ),
    "dla_core": ("--dla", "builds for GPUs alone"),
}
INSTALL = "pip install 'trtforge[rtx]'"


def module() -> Any:
    """Return the bindings of TensorRT-RTX.

    Raises:
        MachineError: they are not installed.
    """
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise MachineError("TensorRT-RTX is not installed", INSTALL) from error
    return tensorrt_rtx


def why_not(device: Device) -> str:
    """Return why no engine can be built for a device; empty if it can.

    The reason is one sentence, and names the compute capabilities that the builder serves.
    """
    if device.rtx_serves:
        return ""
    served = ", ".join(f"SM{sm}" for sm in sorted(RTX_SERVES))
    return f"TensorRT-RTX builds for {served}; {device.title} is SM{device.sm}"


def build(
    model: Path,
    *,
    sm: int,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    options: BuildOptions = PLAIN,
    progress: Callable[[float], None],
) -> tuple[bytes, _trt.Record]:
    """Build an engine for one compute capability, such as 89; see ``_trt.build``."""
    trt = module()
    check(options)
    return _trt.build(
        trt,
        model,
        batch=batch,
        size=size,
        options=options,
        configure=target_setter(trt, sm),
        progress=progress,
    )


def load(engine: Path) -> Session:
    """Load an engine into the GPU's memory, ready to run. Errors are those of ``opened``."""
    from trtforge.backends._session import Session

    with opened(engine) as (trt, loaded):
        return Session(trt, loaded, str(engine))


@contextmanager
def opened(engine: Path) -> Iterator[tuple[Any, tensorrt_api.ICudaEngine]]:
    """Yield TensorRT-RTX, and the engine in the GPU's memory, with the GPU's context for the block.

    Raises:
        MachineError: TensorRT-RTX, pycuda or the driver is missing, or the engine is for another
            machine.
    """
    from trtforge.backends._gpu import current
    from trtforge.backends._session import deserialize

    trt = module()
    with current():
        yield trt, deserialize(trt, _plan.engine_bytes(engine), str(engine))


def check(options: BuildOptions) -> None:
    """Refuse, before any work, options that this builder has no use for.

    Raises:
        MachineError: it names the version and the reason.
    """
    trt = module()
    if options.implicit is not None:
        need_implicit(trt)
    if options.refit or options.strip_weights:
        # Without a driver the compiler writes noise to stderr, and fails.
        machine()
    for name, (option, why) in UNSERVED.items():
        if getattr(options, name) != getattr(PLAIN, name):
            raise MachineError(
                f"{option}: {title(trt)} {why}",
                f"drop {option}, or build with TensorRT on the target",
            )


def target_setter(trt: Any, sm: int) -> Callable[[Any], None]:
    """Return a function that sets the only compute capability of a builder configuration."""

    def configure(config: tensorrt_api.IBuilderConfig) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)

    return configure


def compute_capabilities(engine: bytes) -> list[int]:
    """Return the compute capabilities in an engine's header, such as [86, 89].

    The header is 64 bytes: magic ``vtrt``, and at byte 32 a mask of the targets, lowest bit SM75.
    The list is empty where the file has no such header.
    """
    if len(engine) < 64 or engine[:4] != b"vtrt":
        return []
    mask = int.from_bytes(engine[32:36], "little")
    return [sm for bit, sm in enumerate(sorted(RTX_SERVES)) if mask >> bit & 1]
