"""Options of the precision: the type of the learned operators, and the source of INT8 ranges."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Optional

from trtforge.errors import ForgeError
from trtforge.options.option import Option
from trtforge.options.shared import Calib, Keep, Only, Provider
from trtforge.options.values import Names, PathLike, parse_choice

if TYPE_CHECKING:
    from trtforge.names import Precision as Name


@dataclass(frozen=True)
class Precision:
    """Options of the precision, of which ``fp32``, ``fp16``, ``int8`` and ``fp8`` exclude each other.

    In Python, make one with ``Fp32()``, ``Fp16()``, ``Int8(calib="photos")`` or
    ``Fp8(calib="photos")``.
    """

    fp32: Annotated[bool, Option(("--fp32",), help="Keep FP32 (the default).")] = False
    fp16: Annotated[
        bool, Option(("--fp16",), help="Cast to FP16; inputs, outputs and decode stay FP32.")
    ] = False
    int8: Annotated[bool, Option(("--int8",), help="Quantize to INT8; needs --calib.")] = False
    fp8: Annotated[
        bool,
        Option(("--fp8",), help="Quantize to FP8 (E4M3), for SM89 and newer; needs --calib."),
    ] = False
    calib: Calib = None
    keep: Keep = ()
    only: Only = ()
    int8_mode: Annotated[
        Optional[str],
        Option(
            ("--int8-mode",),
            help="explicit (Q/DQ in the graph, the default), or implicit: FP32 graph and "
            "calibration cache, for TensorRT 10 and nvinfer.",
        ),
    ] = None
    calibrator: Annotated[
        str,
        Option(
            ("--calibrator",),
            help="Calibrator of implicit INT8: own, or TensorRT's entropy or minmax on the target.",
        ),
    ] = "own"
    provider: Provider = "auto"

    @property
    def name(self) -> "Name":
        """The name of the selected precision.

        Raises:
            ForgeError: more than one precision is selected.
        """
        if self.fp32 + self.fp16 + self.int8 + self.fp8 > 1:
            raise ForgeError(
                "--fp32, --fp16, --int8 and --fp8 exclude each other", "give one of them"
            )
        if self.fp8:
            return "fp8"
        if self.int8:
            return "int8"
        return "fp16" if self.fp16 else "fp32"

    @property
    def default(self) -> bool:
        """True if no option is set that a prepared folder decides."""
        options = (self.fp32, self.fp16, self.int8, self.fp8, self.calib, self.keep, self.only)
        return not any(options) and self.int8_mode is None and self.calibrator == "own"


class Fp32(Precision):
    """FP32: the model stays as it is."""

    def __init__(self) -> None:
        super().__init__(fp32=True)


class Fp16(Precision):
    """FP16: learned operators are cast; inputs, outputs and decode stay FP32.

    Args:
        keep: patterns of the names of nodes that stay FP32.
    """

    def __init__(self, *, keep: Names = ()) -> None:
        super().__init__(fp16=True, keep=keep)


class Int8(Precision):
    """INT8: learned operators are quantized.

    Args:
        calib: folder of photographs to calibrate on; the recipe may name it instead.
        keep: patterns of the names of nodes that stay in higher precision.
        only: patterns of the names of nodes: nothing else is quantized.
        mode: "explicit" (Q/DQ nodes in the graph) or "implicit" (FP32 graph and calibration
            cache); None lets the device decide.
        calibrator: with mode "implicit": "own", or TensorRT's "entropy" or "minmax".
        provider: where calibration runs: "auto", "cpu" or "cuda".
    """

    def __init__(
        self,
        calib: PathLike | None = None,
        *,
        keep: Names = (),
        only: Names = (),
        mode: str | None = None,
        calibrator: str = "own",
        provider: str = "auto",
    ) -> None:
        super().__init__(
            int8=True,
            calib=calib,
            keep=keep,
            only=only,
            int8_mode=mode,
            calibrator=calibrator,
            provider=provider,
        )


class Fp8(Precision):
    """FP8 (E4M3), for SM89 and newer: learned operators are quantized.

    Args:
        calib: folder of photographs to calibrate on; the recipe may name it instead.
        keep: patterns of the names of nodes that stay in higher precision.
        only: patterns of the names of nodes: nothing else is quantized.
        provider: where calibration runs: "auto", "cpu" or "cuda".
    """

    def __init__(
        self,
        calib: PathLike | None = None,
        *,
        keep: Names = (),
        only: Names = (),
        provider: str = "auto",
    ) -> None:
        super().__init__(fp8=True, calib=calib, keep=keep, only=only, provider=provider)


def precision_of(value: Precision | str) -> Precision:
    """Return the options that a name, such as "fp16", stands for.

    Raises:
        ForgeError: there is no precision of that name.
    """
    if isinstance(value, Precision):
        return value
    known: dict[str, Precision] = {"fp32": Fp32(), "fp16": Fp16(), "int8": Int8(), "fp8": Fp8()}
    return known[parse_choice(value, tuple(known), "precision")]
