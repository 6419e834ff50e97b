"""Builder: how TensorRT or TensorRT-RTX builds an engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

from trtforge.options.option import Option
from trtforge.options.values import Memory, Names, PathLike


@dataclass(frozen=True)
class Builder:
    """Options of the builder. None leaves an option to the builder's own default."""

    workspace: Annotated[
        Optional[Memory], Option(help="Scratch memory for the builder, e.g. 4GiB.", reads=str)
    ] = None
    memory_pool: Annotated[
        Names,
        Option(
            ("--memory-pool",),
            help="NAME=SIZE of another memory pool: dla-sram, dla-local-dram, dla-global-dram, "
            "tactic-dram or tactic-shared-memory; repeatable.",
            reads=str,
            repeated=True,
        ),
    ] = ()
    profile: Annotated[
        Names,
        Option(
            ("--profile",),
            help="Shapes NAME=MIN:OPT:MAX of inputs, e.g. "
            "images=1x3x640x640:4x3x640x640:8x3x640x640; repeatable: one profile each.",
            reads=str,
            repeated=True,
        ),
    ] = ()
    opt_level: Annotated[
        Optional[int],
        Option(
            ("--opt-level",), help="How long TensorRT searches for faster kernels.", low=0, high=5
        ),
    ] = None
    sparsity: Annotated[
        bool, Option(("--sparsity",), help="Use weights of which two in four are zero.")
    ] = False
    version_compatible: Annotated[
        bool,
        Option(
            ("--version-compatible",), help="The engine also loads in later versions of TensorRT."
        ),
    ] = False
    hardware_compatible: Annotated[
        bool, Option(("--hardware-compatible",), help="The engine runs on Ampere and newer GPUs.")
    ] = False
    refit: Annotated[
        bool, Option(("--refit",), help="The weights in the engine can be changed.")
    ] = False
    strip_weights: Annotated[
        bool, Option(("--strip-weights",), help="Leave the weights out; they are refitted later.")
    ] = False
    dla: Annotated[
        Optional[int],
        Option(("--dla",), help="DLA core; the GPU computes what the core can not.", low=0),
    ] = None
    tf32: Annotated[
        Optional[bool],
        Option(
            ("--tf32/--no-tf32",),
            help="Round FP32 products to TF32 (TensorRT's default), or don't.",
        ),
    ] = None
    aux_streams: Annotated[
        Optional[int],
        Option(("--aux-streams",), help="Largest number of streams beside the main one.", low=0),
    ] = None
    tactic_sources: Annotated[
        Optional[Names],
        Option(
            ("--tactic-sources",),
            help="Only these, by comma: edge-mask-convolutions, jit-convolutions, cublas, "
            "cublas-lt, cudnn.",
            reads=str,
        ),
    ] = None
    timing_cache: Annotated[
        Optional[PathLike],
        Option(
            ("--timing-cache",),
            help="File of measured kernels; default: one in the store.",
            reads=Path,
        ),
    ] = None
