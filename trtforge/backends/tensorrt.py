"""TensorRT 10 and 11: engines for the GPU of this machine, which is the only one it can build for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends import _plan, _trt
from trtforge.backends._calibrator import calibrator
from trtforge.backends._config import need_implicit
from trtforge.backends._driver import machine
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.devices import Device
from trtforge.errors import MachineError
from trtforge.store import default_root

if TYPE_CHECKING:
    import numpy as np
    import tensorrt as tensorrt_api

    from trtforge.backends._session import Session

NO_FP8 = (10, 6)  # this version and older ones; newer ones were not measured
INSTALL = "pip install 'trtforge[tensorrt]' on the target, or use the TensorRT that JetPack brings"


def module() -> Any:
    """Return the bindings of TensorRT.

    Raises:
        MachineError: they are not installed, or are the stub without libraries.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise MachineError("TensorRT is not installed", INSTALL) from error
    if not hasattr(tensorrt, "Builder"):
        raise MachineError("the tensorrt package is here without its libraries", INSTALL)
    return tensorrt


def why_not(device: Device, here: Device | None) -> str:
    """Return why no engine can be built for a device on this machine; empty if it can."""
    if not device.typed:
        return f"{device.title} ends at TensorRT {device.tensorrt}; trtforge builds with TensorRT 10 and newer"
    if here is None:
        return f"TensorRT builds only on a machine with the target's GPU; this one has none, {device.title} is the target"
    if here.sm != device.sm:
        this_gpu = f"this machine's {here.title} (SM{here.sm})"
        return f"TensorRT builds only for {this_gpu}, not for {device.title} (SM{device.sm})"
    return ""


def build(
    model: Path,
    *,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    options: BuildOptions = PLAIN,
    progress: Callable[[float], None],
    calibration: CalibratorInput | None = None,
) -> tuple[bytes, _trt.Record]:
    """Build an engine for this machine's GPU; see ``_trt.build`` for arguments and errors.

    The driver is asked for before a Builder is made: without one, some TensorRTs crash instead of
    failing.

    Args:
        calibration: for implicit INT8.

    Raises:
        MachineError: also for FP8 where TensorRT computes it wrong.
    """
    from trtforge.backends._session import deserialize

    trt = module()
    here = machine()
    if _has_fp8(model):
        _need_fp8(trt)
    trt.init_libnvinfer_plugins(_trt.logger(trt), "")
    feed = _feed(trt, calibration, batch[0], options) if calibration else None
    timing = Path(
        options.timing_cache
        or default_root() / "timing" / f"tensorrt-{trt.__version__}-sm{here.sm}.cache"
    )
    engine, record = _trt.build(
        trt,
        model,
        batch=batch,
        size=size,
        options=options,
        configure=lambda config: None,
        progress=progress,
        calibrator=feed,
        timing=timing,
    )
    loaded = deserialize(trt, engine, "the engine just built", trusted=True)
    record.layers = _layers(trt, loaded)
    record.cache = feed.written if feed else None
    return engine, record


def check(options: BuildOptions, fp8: bool = False) -> None:
    """Refuse, before any work, what this TensorRT lacks or computes wrong.

    Args:
        fp8: the graph's operators are in FP8.

    Raises:
        MachineError: it names the version; or TensorRT or the driver is missing.
        BuildError: the builder refuses a value.
    """
    trt = module()
    if fp8:
        _need_fp8(trt)
    if options.implicit is not None:
        need_implicit(trt)
    machine()
    _trt.check(trt, options, configure=lambda config: None)


def _need_fp8(trt: Any) -> None:
    """Refuse FP8 where TensorRT computes it wrong.

    Raises:
        MachineError: this version is ``NO_FP8`` or older.
    """
    if tuple(int(part) for part in trt.__version__.split(".")[:2]) <= NO_FP8:
        raise MachineError(
            f"TensorRT {trt.__version__} computes FP8 convolutions in FP16, more slowly than FP16 "
            "itself, and detectors find nothing (seen with 10.6 on an H200)",
            "use --int8 or --fp16, a newer TensorRT, or --backend tensorrt-rtx",
        )


def _has_fp8(model: Path) -> bool:
    """Tell whether a graph holds FP8 numbers; its external data is not read."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    return any(weight.data_type == onnx.TensorProto.FLOAT8E4M3FN for weight in graph.initializer)


@dataclass(frozen=True)
class CalibratorInput:
    """The source of the dynamic ranges for implicit INT8.

    Attributes:
        cache: TensorRT's calibration cache for a version, given that version; None streams the
            images.
        batches: float32 images (batch, 3, H, W) of a calibration batch, given its size.
    """

    cache: Callable[[str], str] | None = None
    batches: Callable[[int], Iterator[np.ndarray]] | None = None


def _feed(trt: Any, calibration: CalibratorInput, batch: int, options: BuildOptions) -> Any:
    need_implicit(trt)
    if calibration.cache:
        cache = calibration.cache(trt.__version__).encode()
        return calibrator(trt, "entropy", cache, iter(()), lambda images: 0, batch)
    from trtforge.backends._gpu import current

    memory: list[Any] = []

    def upload(images: np.ndarray) -> int:
        with current() as driver:
            if not memory:
                memory.append(driver.mem_alloc(images.nbytes))
            driver.memcpy_htod(memory[0], images)
        return int(memory[0])

    with current():
        pass  # without pycuda or GPU it fails here, and not in the middle of a build
    assert calibration.batches
    return calibrator(trt, options.calibrator, None, calibration.batches(batch), upload, batch)


def facts(options: BuildOptions) -> dict[str, Any]:
    """Return which TensorRT and GPU an engine that is built here is for.

    Raises:
        MachineError: TensorRT or the driver is missing.
    """
    return {
        "version": str(module().__version__),
        **asdict(machine()),
        "version_compatible": options.version_compatible,
        "hardware_compatible": options.hardware_compatible,
    }


def load(engine: Path) -> Session:
    """Load an engine into the GPU's memory, ready to run.

    Raises:
        ForgeError: it is no engine, or cut short.
        MachineError: TensorRT, pycuda or the driver is missing, or the engine is for another
            machine.
    """
    from trtforge.backends._session import Session

    with opened(engine) as (trt, loaded):
        return Session(trt, loaded, str(engine))


def inspect(engine: Path) -> str:
    """Return the EngineInspector's JSON about every layer of an engine.

    Raises:
        ForgeError: it is no engine, or cut short.
        MachineError: TensorRT, pycuda or the driver is missing, or the engine is for another
            machine.
    """
    with opened(engine) as (trt, loaded):
        return _layers(trt, loaded)


@contextmanager
def opened(engine: Path) -> Iterator[tuple[Any, tensorrt_api.ICudaEngine]]:
    """Yield TensorRT, and the engine in the GPU's memory, with the GPU's context for the block.

    Raises:
        ForgeError, MachineError: see ``load``.
    """
    from trtforge.backends._gpu import current
    from trtforge.backends._session import deserialize

    plan = _plan.read(engine)
    try:
        here, trt = machine(), module()
    except MachineError as error:
        raise MachineError(f"{engine}: {plan.origin}; {error.problem}", error.hint) from error
    if why := _plan.why_not_here(plan, trt.__version__, here):
        raise MachineError(
            why, "rebuild it here: `trtforge build PREPARED/`, or from the ONNX file"
        )
    with current() as driver:
        trt.init_libnvinfer_plugins(_trt.logger(trt), "")
        try:
            yield trt, deserialize(trt, _plan.engine_bytes(engine), str(engine))
        except driver.MemoryError as error:
            raise MachineError(
                f"{engine}: the GPU's memory does not suffice to load it", "free GPU memory"
            ) from error


def _layers(trt: Any, engine: tensorrt_api.ICudaEngine) -> str:
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
