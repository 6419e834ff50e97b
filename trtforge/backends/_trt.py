"""What TensorRT 10, 11 and TensorRT-RTX have in common. The module to work with is always the argument ``trt``.

Features are probed by ``hasattr``, never by version numbers: the three differ in what they have, not in how it works.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtforge.errors import BuildError, ForgeError

# What every API call logs on a machine without a driver; it says nothing about the build.
NOISE = ("cudaError 35", "CUDA initialization failure with error: 35", "cudaErrorInsufficientDriver")
LAYERS = "Layers:\n"  # the engine's layers, as one VERBOSE message of TensorRT-RTX's builder
FIGURES = {
    "Total Activation Memory": "activation_bytes",
    "Total Weights Memory": "weight_bytes",
    "Max Scratch Memory": "scratch_bytes",
}


@dataclass
class Record:
    """What the builder said during one build."""

    errors: list[str] = field(default_factory=list)
    layers: str = ""
    figures: dict[str, int] = field(default_factory=dict)


@functools.cache
def logger(trt: Any) -> Any:
    """The one logger of this process: TensorRT ignores a second one. ``logger.record`` is replaced for each build."""

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
    workspace: int | None,
    configure: Callable[[Any], None],
    progress: Callable[[float], None],
) -> tuple[bytes, Record]:
    """A serialized engine of a strongly typed network.

    Args:
        trt: the bindings.
        model: ONNX file of at most 2 GiB, or with external data beside it.
        batch: smallest, best and largest batch of the one profile, for a dynamic batch.
        size: height and width in pixels, for dynamic ones.
        workspace: bytes the builder may use for scratch memory; None is the device's whole memory.
        configure: sets on the builder config what this flavour needs.
        progress: is told how much is done, 0..1.

    Returns:
        The engine, and what the builder said.

    Raises:
        BuildError: the parser or the builder refuses the model, or logs an API error.
        KeyboardInterrupt: Ctrl-C, after the builder has stopped.
    """
    log = logger(trt)
    log.record = Record()
    with _cancellable() as cancelled:
        builder = trt.Builder(log)
        network = builder.create_network(_strongly_typed(trt))
        parser = trt.OnnxParser(network, log)
        _parse(parser, network, model)
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        _add_profile(builder, network, config, batch, size)
        configure(config)
        config.progress_monitor = _monitor(trt, progress, cancelled)
        engine = builder.build_serialized_network(network, config)
    if cancelled():
        raise KeyboardInterrupt
    if engine is None or log.record.errors:
        raise BuildError(f"{model.name}: {_sentence(log.record.errors)}", _hint(log.record.errors))
    return bytes(engine), log.record


def _strongly_typed(trt: Any) -> int:
    """Network creation flags. Where weakly typed networks are gone (11, RTX), so is the need to say so."""
    if hasattr(trt.BuilderFlag, "FP16"):
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 0


def _parse(parser: Any, network: Any, model: Path) -> None:
    if not parser.parse_from_file(str(model)):
        error = parser.get_error(0)
        where = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
        text = f"{where}{_first_line(error.desc())}"
        raise BuildError(f"{model.name}: the ONNX parser refuses {text}", _hint([text]))
    if network.num_outputs == 0:  # the parser takes an empty file for an empty network
        raise BuildError(f"{model.name}: the parser found no outputs", "export the model again")


def _add_profile(builder: Any, network: Any, config: Any, batch: tuple[int, int, int], size: tuple[int, int]) -> None:
    profile = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = list(tensor.shape)
        if -1 not in shape:
            continue
        dynamic = True
        image = [known if known != -1 else wanted for known, wanted in zip(shape[2:], size, strict=False)]
        shapes = [[count if shape[0] == -1 else shape[0], shape[1], *image] for count in batch]
        if profile.set_shape(tensor.name, *shapes) is False:
            raise ForgeError(f"the profile {shapes} contradicts input {tensor.name!r}", "check --batch and --size")
    if dynamic and config.add_optimization_profile(profile) < 0:
        raise ForgeError("the builder refuses the optimization profile", "check that --batch is MIN:OPT:MAX in order")


def _monitor(trt: Any, progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; the share done of a phase counts as part of a step of the phase around it."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[str | None, int, int]] = {}  # name -> phase around it, steps, steps done
            self.shown = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (parent_phase, max(1, num_steps), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.phases:
                around, steps, _ = self.phases[phase_name]
                self.phases[phase_name] = (around, steps, step + 1)
                self.shown = max(self.shown, min(1.0, self._share(phase_name)))
                progress(self.shown)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def _share(self, name: str) -> float:
            around, steps, done = self.phases[name]
            share = done / steps
            while around in self.phases:
                around, steps, done = self.phases[around]
                share = (done + min(1.0, share)) / steps
            return share

    return Monitor()


@contextmanager
def _cancellable() -> Iterator[Callable[[], bool]]:
    """While the builder runs, Ctrl-C sets a flag: an exception thrown into its callbacks would end the process."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _sentence(errors: list[str]) -> str:
    """The first error that the builder logged is the cause; those behind it say that the build has failed."""
    return f"the builder says: {_first_line(errors[0])}" if errors else "the builder failed without saying why"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].strip() if text.strip() else "it (no reason given)"


def _hint(errors: list[str]) -> str:
    text = " ".join(errors)
    if "EfficientNMS" in text or "BatchedNMS" in text or "Plugin not found" in text:
        return "this builder has no such plugin: use --nms-impl onnx, or --nms none"
    if "workspace" in text.lower() or "OutOfMemory" in text:
        return "give more with --workspace"
    if "HW-specific datatypes" in text:
        return "this GPU has no such precision: choose another"
    if "NonMaxSuppression" in text or "nms" in text.lower():
        return "this builder has no NMS: use --nms none"
    return ""
