"""Run ONNX Runtime: as the reference for other engines, and as an engine of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import BuildError, ForgeError, MachineError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime

# The names of TensorRT's plugins end so; no other runtime has these operators.
PLUGIN_SUFFIX = "_TRT"
# ONNX Runtime before 1.32 takes a Pad of zeros for the pads of a MaxPool, which are no zeros.
WRONG_FUSIONS = ("Pad_Fusion",)


def session(
    model: Path | bytes,
    threads: int = 0,
    fuse: bool = True,
    weights: Mapping[str, np.ndarray] | None = None,
) -> onnxruntime.InferenceSession:
    """Open a CPU session that prints nothing.

    Args:
        model: file, or serialized model under 2 GiB.
        threads: number of threads inside one operator; 0 uses one thread per core.
        fuse: let ONNX Runtime fuse operators. Its INT8 fusions take no FP16 scales: graphs that are
            typed for TensorRT run without.
        weights: values of the initializers that are not stored in the model, by name.

    Raises:
        ForgeError: ONNX Runtime can't load the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Memory patterns plan for one batch size: a fifth more memory, and no faster on a CPU.
    options.enable_mem_pattern = False
    # Idle threads that spin would take the cores from decoding and histograms.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fuse:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    _add_weights(options, weights)
    try:
        return ort.InferenceSession(
            model if isinstance(model, bytes) else os.fspath(model),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=WRONG_FUSIONS,
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ForgeError(
            f"ONNX Runtime can't load the model: {reason(error)}",
            "--no-check skips ONNX Runtime where only TensorRT knows an operator",
        ) from error


def _add_weights(
    options: onnxruntime.SessionOptions, weights: Mapping[str, np.ndarray] | None
) -> None:
    """Add initializers to the options of a session, which copies them when it opens."""
    import onnxruntime as ort

    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)


def calibration_provider(provider: str) -> str:
    """Return where calibration runs, ``cpu`` or ``cuda``; ``auto`` prefers ``cuda``.

    Raises:
        MachineError: the provider is ``cuda``, and this machine can't use a GPU.
    """
    if provider == "cuda" and not has_cuda():
        raise MachineError(
            "--provider cuda: no GPU that onnxruntime-gpu and pycuda can use",
            "pip install 'trtforge[gpu]', or use --provider cpu",
        )
    if provider != "auto":
        return provider
    return "cuda" if has_cuda() else "cpu"


def has_cuda() -> bool:
    """Tell whether ONNX Runtime and pycuda can compute on a GPU here."""
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries from Python packages, where there are some
    try:
        from pycuda import driver

        driver.init()
    except Exception:  # no pycuda, no driver, no device: pycuda's own classes
        return False
    return int(driver.Device.count()) > 0


def cuda_session(
    model: bytes, weights: Mapping[str, np.ndarray] | None = None
) -> onnxruntime.InferenceSession:
    """Open a session on the first GPU without TF32, which would move ranges in the fourth digit.

    Args:
        weights: values of the initializers that are not stored in the model, by name.

    Raises:
        MachineError: ONNX Runtime falls back to the CPU.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    _add_weights(options, weights)
    providers: list[str | tuple[str, dict[str, str]]] = [
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        "CPUExecutionProvider",
    ]
    engine = ort.InferenceSession(
        model, options, providers=providers, disabled_optimizers=WRONG_FUSIONS
    )
    if "CUDAExecutionProvider" not in engine.get_providers():
        raise MachineError(
            "ONNX Runtime found no CUDA that it can use",
            "use --provider cpu, or install onnxruntime-gpu",
        )
    return engine


def reason(error: Exception) -> str:
    """Return the last clause of ONNX Runtime's message, which says why."""
    return str(error).strip().splitlines()[0].split(" : ")[-1].strip()


def failure(error: Exception, images: np.ndarray) -> ForgeError:
    """Return the error for a model that fails on images of shape (N, C, H, W)."""
    shape = "x".join(map(str, images.shape))
    return ForgeError(
        f"the model fails on an input of {shape}: {reason(error)}",
        "check --size and --batch: strides must divide the size",
    )


def run(engine: onnxruntime.InferenceSession, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return all outputs by name for float32 images of shape (N, C, H, W).

    Raises:
        ForgeError: the model fails on them.
    """
    try:
        outputs = engine.run(None, {engine.get_inputs()[0].name: images})
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise failure(error, images) from error
    return dict(zip((output.name for output in engine.get_outputs()), outputs, strict=True))


def run_one(engine: onnxruntime.InferenceSession, image: np.ndarray) -> dict[str, np.ndarray]:
    """Run one image (1, C, H, W), which fills a fixed batch; return the outputs of the first image.

    Raises:
        ForgeError: see ``run``.
    """
    batch = engine.get_inputs()[0].shape[0]
    if not isinstance(batch, int) or batch <= 1:
        return run(engine, image)
    outputs = run(engine, image.repeat(batch, axis=0))
    return {
        name: output[:1] if output.shape[:1] == (batch,) else output
        for name, output in outputs.items()
    }


def build(model: Path, *, batches: tuple[int, ...], size: tuple[int, int]) -> onnx.ModelProto:
    """Optimise a graph for this machine's CPU, and run it at each batch size.

    The engine is the ONNX graph itself: ONNX Runtime's optimised form would hold only for the CPU
    that made it.

    Args:
        model: ready graph, float32 images in.
        batches: sizes that have to run.
        size: height and width in pixels.

    Returns:
        The optimised graph, which tells what became of the nodes.

    Raises:
        BuildError: ONNX Runtime refuses the model.
        ForgeError: it fails at one of the batch sizes.
    """
    return _optimised(model, list(dict.fromkeys(batches)), size, profiled=False)[0]


def profile(
    model: Path, *, batch: int, size: tuple[int, int], runs: int = 10
) -> tuple[onnx.ModelProto, str]:
    """Build, and return what ONNX Runtime's profiler says about ``runs`` runs, as JSON."""
    return _optimised(model, [batch] * (runs + 1), size, profiled=True)


def _optimised(
    model: Path, batches: list[int], size: tuple[int, int], *, profiled: bool
) -> tuple[onnx.ModelProto, str]:
    import tempfile

    import numpy as np
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = os.fspath(optimised)
        options.enable_profiling = profiled
        options.profile_file_prefix = os.fspath(Path(folder, "profile"))
        try:
            engine = ort.InferenceSession(
                os.fspath(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            has_plugin = PLUGIN_SUFFIX in str(error)
            hint = "its plugin runs only in TensorRT: use --nms onnx" if has_plugin else ""
            raise BuildError(f"ONNX Runtime refuses the model: {reason(error)}", hint) from error
        for batch in batches:
            run(engine, np.zeros((batch, 3, *size), np.float32))
        times = Path(engine.end_profiling()).read_text(encoding="utf-8") if profiled else ""
        return onnx.load(optimised), times
