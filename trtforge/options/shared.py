"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Optional

from trtforge.options.option import Option
from trtforge.options.values import Batch, Duration, Names, PathLike, Size

Calib = Annotated[
    Optional[PathLike],
    Option(("--calib",), help="Folder of photographs to calibrate INT8 on.", reads=Path),
]
DeviceNames = Annotated[
    Names,
    Option(
        ("--device",), help="Target, repeatable; see `trtforge devices`.", reads=str, repeated=True
    ),
]
BackendName = Annotated[
    str, Option(("--backend",), help="auto, tensorrt, tensorrt-rtx or onnxruntime.")
]
BatchRange = Annotated[Optional[Batch], Option(help="Largest batch N, or MIN:OPT:MAX.", reads=str)]
InputSize = Annotated[
    Optional[Size], Option(help="Height and width of a dynamic input, HxW.", reads=str)
]
RecipeName = Annotated[
    Optional[PathLike],
    Option(("--recipe",), help="Recipe, by name or file; see `trtforge recipes`.", reads=str),
]
LabelFile = Annotated[
    Optional[PathLike], Option(help="Text file with one class a line.", reads=Path)
]
TruthFile = Annotated[
    Optional[PathLike],
    Option(
        ("--labels",),
        help="COCO JSON for detectors, CSV of name,class for classifiers, a folder of masks for "
        "segmentation.",
        reads=Path,
    ),
]
DeepStreamVersion = Annotated[
    Optional[str], Option(help="DeepStream version that will read the configuration.")
]
OutFolder = Annotated[
    Optional[PathLike],
    Option(
        ("-o", "--out"),
        help="Output folder; with several devices, their parent. "
        "Default: named after the model, here.",
        reads=Path,
    ),
]
OutFile = Annotated[PathLike, Option(("-o", "--out"), help="File to write.", reads=Path)]
Force = Annotated[
    bool, Option(("--force",), help="Run every stage again, and overwrite changed outputs.")
]
DryRun = Annotated[
    bool, Option(("--dry-run",), help="Show what would run, and why; change nothing.")
]
On = Annotated[
    str,
    Option(
        ("--on",),
        help="Where the work runs: local (this process), local:N (processes), ray (a cluster "
        "started here), or ray://HOST:10001.",
    ),
]
Timeout = Annotated[
    Optional[Duration],
    Option(
        help="With --on ray://...: stop when no node has had the device for this time, e.g. 10m. "
        "Default: wait.",
        reads=str,
    ),
]
CheckFolding = Annotated[
    bool,
    Option(
        ("--no-check",), help="Don't compare the folded model with the original.", inverted=True
    ),
]
LoadInputs = Annotated[
    Optional[PathLike],
    Option(("--load-inputs",), help="Inputs in Polygraphy's JSON, the first of them.", reads=Path),
]
Provider = Annotated[str, Option(help="Where calibration runs: auto, cpu or cuda.")]
Keep = Annotated[
    Names,
    Option(
        help="Pattern of node names that stay in higher precision; repeatable, adds to the "
        "recipe's.",
        reads=str,
        repeated=True,
    ),
]
Only = Annotated[
    Names,
    Option(
        help="Pattern of node names: nothing else is quantized; repeatable.",
        reads=str,
        repeated=True,
    ),
]
