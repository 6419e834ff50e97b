"""Build options -> builder config of TensorRT 10, 11 and TensorRT-RTX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtforge.backends._bindings import has, need, title
from trtforge.backends.options import BuildOptions
from trtforge.errors import MachineError

if TYPE_CHECKING:
    import tensorrt

POOLS = {
    "dla-sram": "DLA_MANAGED_SRAM",
    "dla-local-dram": "DLA_LOCAL_DRAM",
    "dla-global-dram": "DLA_GLOBAL_DRAM",
    "tactic-dram": "TACTIC_DRAM",
    "tactic-shared-memory": "TACTIC_SHARED_MEMORY",
}
TACTICS = {
    "edge-mask-convolutions": "EDGE_MASK_CONVOLUTIONS",
    "jit-convolutions": "JIT_CONVOLUTIONS",
    "cublas": "CUBLAS",
    "cublas-lt": "CUBLAS_LT",
    "cudnn": "CUDNN",
}


def apply(
    trt: Any, builder: tensorrt.Builder, config: tensorrt.IBuilderConfig, options: BuildOptions
) -> None:
    """Set on ``config`` what the user asked for.

    Raises:
        MachineError: this version, or this machine's hardware, lacks it.
    """
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.dla_core is not None:
        _dla(trt, builder, config, options.dla_core)
    _memory(trt, config, options)
    _flags(trt, config, options)
    _search(trt, config, options)
    if options.implicit is not None:
        _implicit(trt, config, options.implicit)


def _memory(trt: Any, config: tensorrt.IBuilderConfig, options: BuildOptions) -> None:
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    for name, size in options.pools:
        need(trt, f"--memory-pool {name}", f"MemoryPoolType.{POOLS[name]}")
        config.set_memory_pool_limit(getattr(trt.MemoryPoolType, POOLS[name]), size)


def _flags(trt: Any, config: tensorrt.IBuilderConfig, options: BuildOptions) -> None:
    if options.tf32 is True:
        need(trt, "--tf32", "BuilderFlag.TF32")
        config.set_flag(trt.BuilderFlag.TF32)
    if options.tf32 is False:
        need(trt, "--no-tf32", "BuilderFlag.TF32")
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.sparsity:
        need(trt, "--sparsity", "BuilderFlag.SPARSE_WEIGHTS")
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if options.version_compatible:
        need(trt, "--version-compatible", "BuilderFlag.VERSION_COMPATIBLE")
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.refit:
        need(trt, "--refit", "BuilderFlag.REFIT")
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.strip_weights:
        need(trt, "--strip-weights", "BuilderFlag.STRIP_PLAN")
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if options.hardware_compatible:
        need(
            trt,
            "--hardware-compatible",
            "IBuilderConfig.hardware_compatibility_level",
            "HardwareCompatibilityLevel",
        )
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _search(trt: Any, config: tensorrt.IBuilderConfig, options: BuildOptions) -> None:
    """Set how hard, and among what, the builder looks for kernels."""
    if options.opt_level is not None:
        need(trt, "--opt-level", "IBuilderConfig.builder_optimization_level")
        config.builder_optimization_level = options.opt_level
    if options.aux_streams is not None:
        need(trt, "--aux-streams", "IBuilderConfig.max_aux_streams")
        config.max_aux_streams = options.aux_streams
    if options.tactic_sources is not None:
        mask = 0
        for name in options.tactic_sources:
            need(trt, f"--tactic-sources {name}", f"TacticSource.{TACTICS[name]}")
            mask |= 1 << int(getattr(trt.TacticSource, TACTICS[name]))
        config.set_tactic_sources(mask)


def _dla(trt: Any, builder: tensorrt.Builder, config: tensorrt.IBuilderConfig, core: int) -> None:
    """Build for a DLA core; what the DLA can't compute runs on the GPU."""
    need(trt, "--dla", "DeviceType.DLA", "BuilderFlag.GPU_FALLBACK", "IBuilderConfig.DLA_core")
    cores = builder.num_DLA_cores
    if core >= cores:
        raise MachineError(
            f"--dla {core}: {title(trt)} finds {cores or 'no'} DLA cores on this machine",
            f"take a core under {cores}" if cores else "build for the GPU, without --dla",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _implicit(trt: Any, config: tensorrt.IBuilderConfig, rest: str) -> None:
    """INT8 where a tensor has a range, ``rest`` elsewhere: the builder chooses by speed."""
    need_implicit(trt)
    config.set_flag(trt.BuilderFlag.INT8)
    if rest == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)


def need_implicit(trt: Any) -> None:
    """Refuse implicit INT8 where it is gone.

    Raises:
        MachineError: TensorRT 11, TensorRT-RTX.
    """
    if not (has(trt, "BuilderFlag.INT8") and has(trt, "IInt8EntropyCalibrator2")):
        raise MachineError(
            f"{title(trt)} has no implicit INT8: its networks are strongly typed, and it has neither "
            "calibrators nor INT8 flag",
            "use --int8-mode explicit, or TensorRT 10",
        )
    need(
        trt,
        "--int8-mode",
        "BuilderFlag.INT8",
        "BuilderFlag.FP16",
        "IBuilderConfig.int8_calibrator",
        "IInt8EntropyCalibrator2",
        "IInt8MinMaxCalibrator",
        "IBuilderConfig.set_calibration_profile",
    )
