"""Build engines with TensorRT 10, TensorRT 11 or TensorRT-RTX.

The argument ``trt`` is always the Python module of one of them. Features are probed by ``hasattr``,
never by version numbers: the three differ in what they have, not in how it works.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends import _profiles as profiles
from trtforge.backends import _timing as timing_cache
from trtforge.backends._bindings import has
from trtforge.backends._config import apply, need_implicit
from trtforge.backends._progress import cancellable, monitor
from trtforge.backends._refusal import first_line, hint, refusal
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.errors import BuildError

if TYPE_CHECKING:
    import tensorrt

# What every API call logs on a machine without a driver; it says nothing about the build.
NOISE = (
    "cudaError 35",
    "CUDA initialization failure with error: 35",
    "cudaErrorInsufficientDriver",
)
LAYERS = "Layers:\n"  # the engine's layers, as one VERBOSE message of TensorRT-RTX's builder
FIGURES = {
    "Total Activation Memory": "activation_bytes",
    "Total Weights Memory": "weight_bytes",
    "Max Scratch Memory": "scratch_bytes",
}


@dataclass
class Record:
    """Messages of the builder during one build."""

    errors: list[str] = field(default_factory=list)
    layers: str = ""
    figures: dict[str, int] = field(default_factory=dict)
    cache: bytes | None = None  # that TensorRT's own calibration wrote


@functools.cache
def logger(trt: Any) -> Any:
    """Return the one logger of this process: TensorRT ignores a second one."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.record = Record()

        def log(self, severity: Any, message: str) -> None:
            _note(self.record, trt, severity, message)

    return Logger()


def _note(record: Record, trt: Any, severity: Any, message: str) -> None:
    if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
        if not any(noise in message for noise in NOISE):
            record.errors.append(message.strip())
    elif message.startswith(LAYERS):
        record.layers = message
    elif severity == trt.ILogger.INFO:
        for text, name in FIGURES.items():
            if text in message:
                record.figures[name] = _number_after(message, text)


def _number_after(message: str, text: str) -> int:
    digits = "".join(char if char.isdigit() else " " for char in message.partition(text)[2]).split()
    return int(digits[0]) if digits else 0


def build(
    trt: Any,
    model: Path,
    *,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    options: BuildOptions = PLAIN,
    configure: Callable[[tensorrt.IBuilderConfig], None],
    progress: Callable[[float], None],
    calibrator: Any = None,
    timing: Path | None = None,
) -> tuple[bytes, Record]:
    """Build a serialized engine: strongly typed, or by TensorRT 10's implicit INT8.

    Args:
        trt: the bindings.
        model: ONNX file of at most 2 GiB, or with external data beside it.
        batch: smallest, best and largest batch of the one profile, for a dynamic batch.
        size: height and width in pixels, for dynamic ones.
        options: the user's.
        configure: sets on the builder config what this flavour needs.
        progress: is told how much is done, 0..1.
        calibrator: for implicit INT8.
        timing: file of the timing cache; None has none.

    Returns:
        The engine, and what the builder said.

    Raises:
        BuildError: the parser or the builder refuses the model, or logs an API error.
        MachineError: an option that this version lacks; the GPU's memory does not suffice.
        ForgeError: a profile contradicts the graph.
        KeyboardInterrupt: Ctrl-C, after the builder has stopped.
    """
    log = logger(trt)
    log.record = Record()
    with cancellable() as cancelled:
        builder = trt.Builder(log)
        network = builder.create_network(_network_flags(trt, options))
        parser = trt.OnnxParser(network, log)
        _parse(trt, parser, network, model)
        config = builder.create_builder_config()
        apply(trt, builder, config, options)
        profiles.add(trt, builder, network, config, options, batch, size)
        configure(config)
        if timing:
            timing_cache.use(trt, config, timing)
        if calibrator is not None:
            need_implicit(trt)
            config.int8_calibrator = calibrator
        config.progress_monitor = monitor(trt, progress, cancelled)
        engine = builder.build_serialized_network(network, config)
    if cancelled():
        raise KeyboardInterrupt
    if calibrator is not None and calibrator.failure:
        raise calibrator.failure
    if engine is None or log.record.errors:
        raise refusal(trt, model.name, log.record.errors, _has_plugins(network))
    if timing:
        timing_cache.keep(config, timing)
    return bytes(engine), log.record


def check(
    trt: Any, options: BuildOptions, configure: Callable[[tensorrt.IBuilderConfig], None]
) -> None:
    """Ask the builder itself, before any work, whether it takes the options.

    Raises:
        MachineError: this version lacks one.
        BuildError: it refuses a value.
    """
    log = logger(trt)
    log.record = Record()
    builder = trt.Builder(log)
    config = builder.create_builder_config()
    apply(trt, builder, config, options)
    configure(config)
    if log.record.errors:
        raise refusal(trt, "build options", log.record.errors, False)


def _network_flags(trt: Any, options: BuildOptions) -> int:
    """Return the flags of a strongly typed network; TensorRT 11 and RTX have no other networks."""
    if options.implicit is None and has(trt, "BuilderFlag.FP16"):
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 0


def _parse(
    trt: Any, parser: tensorrt.OnnxParser, network: tensorrt.INetworkDefinition, model: Path
) -> None:
    if not parser.parse_from_file(str(model)):
        error: tensorrt.ParserError = parser.get_error(0)
        where = (
            f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
        )
        text = f"{where}{first_line(error.desc())}"
        raise BuildError(f"{model.name}: the ONNX parser refuses {text}", hint(trt, [text], False))
    if network.num_outputs == 0:  # the parser takes an empty file for an empty network
        raise BuildError(f"{model.name}: the parser found no outputs", "export the model again")


def _has_plugins(network: tensorrt.INetworkDefinition) -> bool:
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if "PLUGIN" in str(layer.type):
            return True
    return False
