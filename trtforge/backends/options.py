"""The options of a TensorRT builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Calibrator = Literal["own", "entropy", "minmax"]
CALIBRATORS: tuple[Calibrator, ...] = ("own", "entropy", "minmax")
Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]


@dataclass(frozen=True)
class BuildOptions:
    """Options of TensorRT and TensorRT-RTX for building an engine.

    None leaves an option to the builder's own default. A version that lacks an option refuses it.

    Attributes:
        workspace: scratch memory in bytes.
        pools: bytes of the other memory pools, by the names in ``trtforge.backends._config.POOLS``.
        profiles: for each optimization profile, the smallest, best and largest shape of every
            input, by name; empty: one profile that follows batch and size.
        opt_level: how long the builder looks for faster kernels.
        sparsity: use kernels for weights of which two in four are zero.
        version_compatible: the engine loads in later versions of TensorRT, too.
        hardware_compatible: the engine runs on Ampere and newer GPUs.
        refit: the weights of the engine can be changed.
        strip_weights: the engine carries no weights, and is refitted before it runs.
        dla_core: the DLA core that computes what it can; the GPU does the rest.
        tf32: FP32 products may be rounded to TF32.
        aux_streams: the number of streams beside the main one, at most.
        tactic_sources: names in ``trtforge.backends._config.TACTICS``.
        timing_cache: file of measured kernels; None is one in the store for each version and GPU.
        implicit: build implicit INT8 from a calibration cache; the value is the precision of what
            is not INT8. None: the graph decides every precision.
        calibrator: where the ranges of implicit INT8 come from: our own table, or an algorithm of
            TensorRT that runs on the images.
    """

    workspace: int | None = None
    pools: tuple[tuple[str, int], ...] = ()
    profiles: tuple[Profile, ...] = ()
    opt_level: int | None = None
    sparsity: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False
    refit: bool = False
    strip_weights: bool = False
    dla_core: int | None = None
    tf32: bool | None = None
    aux_streams: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    timing_cache: str | None = None
    implicit: str | None = None
    calibrator: Calibrator = "own"


PLAIN = BuildOptions()
