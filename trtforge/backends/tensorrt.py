"""TensorRT 10 and 11: engines for the GPU of this machine, which is the only one it can build for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends import _trt
from trtforge.devices import Device
from trtforge.errors import MachineError

if TYPE_CHECKING:
    import numpy as np

NO_LAYERS = '{"Layers": []}'
INSTALL = "pip install 'trtforge[tensorrt]' on the target, or use the TensorRT that JetPack brings"


def module() -> Any:
    """The bindings.

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


def refuses(device: Device, here: Device | None) -> str:
    """Why no engine can be built for ``device`` on this machine, whose GPU is ``here``; empty if it can."""
    if here is None:
        return (
            f"TensorRT builds only on a machine with the target's GPU; this one has none, {device.title} is the target"
        )
    if here.sm != device.sm:
        own = f"this machine's {here.title} (SM{here.sm})"
        return f"TensorRT builds only for {own}, not for {device.title} (SM{device.sm})"
    return ""


def build(
    model: Path,
    *,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    workspace: int | None,
    progress: Callable[[float], None],
) -> tuple[bytes, _trt.Record]:
    """An engine for this machine's GPU. Arguments and errors as of ``_trt.build``.

    The driver is asked for before a Builder is made: without one, some TensorRTs crash instead of failing.
    """
    trt = module()
    _need_driver()
    trt.init_libnvinfer_plugins(_trt.logger(trt), "")
    engine, record = _trt.build(
        trt, model, batch=batch, size=size, workspace=workspace, configure=lambda config: None, progress=progress
    )
    record.layers = _inspect(trt, engine)
    return engine, record


def load(
    engine: Path,
) -> tuple[Callable[[np.ndarray], dict[str, np.ndarray]], tuple[int, int], dict[str, tuple[int | str, ...]]]:
    """An engine on the GPU, through polygraphy's runner.

    Returns:
        A function from float32 images (N, C, H, W) to outputs by name; height and width of the input in pixels;
        dimensions of each output without the batch.

    Raises:
        MachineError: TensorRT, polygraphy or the driver is missing, or the engine is for another machine.
    """
    module()
    _need_driver()
    try:
        from polygraphy.backend.common import BytesFromPath
        from polygraphy.backend.trt import EngineFromBytes, TrtRunner
        from polygraphy.exception import PolygraphyException
    except ImportError as error:
        raise MachineError("polygraphy, which runs TensorRT engines, is not installed", INSTALL) from error
    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(engine))))
    try:
        runner.activate()
    except PolygraphyException as error:
        raise MachineError(f"{engine}: does not load here", "build it on this machine, with this TensorRT") from error
    name, (_, shape) = next(iter(runner.get_input_metadata().items()))
    context = runner.context.engine
    outputs = [context.get_tensor_name(index) for index in range(context.num_io_tensors)]
    dims = {output: tuple(context.get_tensor_shape(output))[1:] for output in outputs if output != name}

    def infer(images: np.ndarray) -> dict[str, np.ndarray]:
        return {output: array.copy() for output, array in runner.infer({name: images}).items()}

    return infer, (int(shape[2]), int(shape[3])), dims


def inspect(engine: bytes) -> str:
    """The EngineInspector's JSON of a serialized engine.

    Raises:
        MachineError: TensorRT or the driver is missing, or the engine is for another machine.
    """
    trt = module()
    _need_driver()
    trt.init_libnvinfer_plugins(_trt.logger(trt), "")
    found = _inspect(trt, engine)
    if found == NO_LAYERS:
        raise MachineError("the engine does not load here", "inspect it where it was built, with the same TensorRT")
    return found


def _inspect(trt: Any, engine: bytes) -> str:
    """The inspector's JSON of every layer."""
    runtime = trt.Runtime(_trt.logger(trt))
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        return NO_LAYERS
    inspector = loaded.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _need_driver() -> None:
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise MachineError("no NVIDIA driver on this machine (libcuda.so.1)", "run on the target GPU") from error
    if driver.cuInit(0) != 0:
        raise MachineError("the NVIDIA driver finds no GPU (cuInit failed)", "check nvidia-smi") from None
