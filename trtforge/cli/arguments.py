"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Calib = Annotated[
    Optional[Path], typer.Option("--calib", help="Folder of photographs to calibrate INT8 on.")
]
Devices = Annotated[
    Optional[list[str]],
    typer.Option("--device", help="Target, repeatable; see `trtforge devices`."),
]
BackendName = Annotated[
    str, typer.Option("--backend", help="auto, tensorrt, tensorrt-rtx or onnxruntime.")
]
Batch = Annotated[Optional[str], typer.Option(help="Largest batch N, or MIN:OPT:MAX.")]
Size = Annotated[Optional[str], typer.Option(help="Height and width of a dynamic input, HxW.")]
RecipeName = Annotated[
    Optional[str], typer.Option("--recipe", help="Recipe, by name or file; see `trtforge recipes`.")
]
Labels = Annotated[Optional[Path], typer.Option(help="Text file with one class a line.")]
TruthFile = Annotated[
    Optional[Path],
    typer.Option(
        "--labels",
        help="COCO JSON for detectors, CSV of name,class for classifiers, a folder of masks for segmentation.",
    ),
]
Workspace = Annotated[
    Optional[str], typer.Option(help="Scratch memory for the builder, e.g. 4GiB.")
]
NmsName = Annotated[
    str,
    typer.Option(
        "--nms",
        help="auto, none, keep, onnx, efficientnms, deepstream. TensorRT-RTX's "
        "own graph never has any: it can build none.",
    ),
]
NmsImplName = Annotated[
    str, typer.Option("--nms-impl", help="What deepstream's NMS is made of: auto, plugin or onnx.")
]
Score = Annotated[Optional[float], typer.Option(help="Least score of a detection, 0 to 1.")]
Iou = Annotated[
    Optional[float], typer.Option(help="Greatest overlap of two detections of a class, 0 to 1.")
]
MaxDet = Annotated[Optional[int], typer.Option("--max-det", help="Most detections in an image.")]
ClassAgnostic = Annotated[bool, typer.Option("--class-agnostic", help="Suppress across classes.")]
Pools = Annotated[
    Optional[list[str]],
    typer.Option(
        "--memory-pool",
        help="NAME=SIZE of another memory pool: dla-sram, "
        "dla-local-dram, dla-global-dram, tactic-dram or tactic-shared-memory; repeatable.",
    ),
]
Profiles = Annotated[
    Optional[list[str]],
    typer.Option(
        "--profile",
        help="Shapes NAME=MIN:OPT:MAX of inputs, e.g. "
        "images=1x3x640x640:4x3x640x640:8x3x640x640; repeatable: one profile each.",
    ),
]
OptLevel = Annotated[
    Optional[int],
    typer.Option("--opt-level", min=0, max=5, help="How long TensorRT looks for faster kernels."),
]
Sparsity = Annotated[
    bool, typer.Option("--sparsity", help="Use weights of which two in four are zero.")
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="Loads in later TensorRTs, too.")
]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="Runs on Ampere and newer.")
]
Refit = Annotated[bool, typer.Option("--refit", help="Weights can be changed in the engine.")]
StripWeights = Annotated[
    bool, typer.Option("--strip-weights", help="Leave the weights out, to be refitted.")
]
Dla = Annotated[
    Optional[int],
    typer.Option("--dla", min=0, help="DLA core; what it can't compute runs on the GPU."),
]
Tf32 = Annotated[
    Optional[bool],
    typer.Option(
        "--tf32/--no-tf32", help="Round FP32 products to TF32 (TensorRT's default), or don't."
    ),
]
AuxStreams = Annotated[
    Optional[int], typer.Option("--aux-streams", min=0, help="Most streams beside the main one.")
]
TacticSources = Annotated[
    Optional[str],
    typer.Option(
        "--tactic-sources",
        help="Only these, by comma: "
        "edge-mask-convolutions, jit-convolutions, cublas, cublas-lt, cudnn.",
    ),
]
TimingCache = Annotated[
    Optional[Path],
    typer.Option("--timing-cache", help="File of measured kernels; default: one in the store."),
]
Int8Mode = Annotated[
    Optional[str],
    typer.Option(
        "--int8-mode",
        help="explicit (Q/DQ in the graph, the default), or "
        "implicit: FP32 graph and calibration cache, for TensorRT 10 and nvinfer.",
    ),
]
CalibratorName = Annotated[
    str,
    typer.Option(
        "--calibrator", help="Of implicit INT8: own, or TensorRT's entropy or minmax on the target."
    ),
]
DeepStream = Annotated[
    Optional[str], typer.Option(help="DeepStream version that will read the configuration.")
]
Out = Annotated[
    Optional[Path],
    typer.Option(
        "-o",
        "--out",
        help="Output folder; with several devices, their parent. "
        "Default: named after the model, here.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Run every stage again, and overwrite changed outputs.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would run, and why; change nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        help="Who works: local (this process), local:N (processes), ray (a cluster "
        "started here), or ray://HOST:10001.",
    ),
]
Timeout = Annotated[
    Optional[str],
    typer.Option(
        help="With --on ray://...: give up when no node has had the device for "
        "so long, e.g. 10m. Default: wait."
    ),
]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="Don't compare the folded model with the original.")
]
FP32 = Annotated[bool, typer.Option("--fp32", help="Keep FP32 (the default).")]
FP16 = Annotated[
    bool, typer.Option("--fp16", help="Cast to FP16; inputs, outputs and decode stay FP32.")
]
INT8 = Annotated[bool, typer.Option("--int8", help="Quantize to INT8; needs --calib.")]
Provider = Annotated[str, typer.Option(help="Where calibration runs: auto, cpu or cuda.")]
Keep = Annotated[
    Optional[list[str]],
    typer.Option(
        help="Pattern of node names that stay in higher precision; "
        "repeatable, adds to the recipe's."
    ),
]
Only = Annotated[
    Optional[list[str]],
    typer.Option(help="Pattern of node names: nothing else is quantized; repeatable."),
]
FP8 = Annotated[
    bool, typer.Option("--fp8", help="Quantize to FP8 (E4M3), for SM89 and newer; needs --calib.")
]
OutFile = Annotated[Path, typer.Option("-o", "--out", help="File to write.")]
