"""Types for the part of ONNX Runtime that trtforge uses. The package itself has none."""

from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

# Tensors in and out have any element type.
_Array = NDArray[Any]
_Provider = str | tuple[str, Mapping[str, object]]

class GraphOptimizationLevel(Enum):
    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_ALL = 99

class SessionOptions:
    log_severity_level: int
    intra_op_num_threads: int
    inter_op_num_threads: int
    graph_optimization_level: GraphOptimizationLevel
    optimized_model_filepath: str
    enable_profiling: bool
    profile_file_prefix: str
    enable_mem_pattern: bool
    enable_cpu_mem_arena: bool
    def add_session_config_entry(self, key: str, value: str) -> None: ...
    def add_external_initializers(
        self, names: Sequence[str], values: Sequence[OrtValue]
    ) -> None: ...

class RunOptions:
    log_severity_level: int
    def add_run_config_entry(self, key: str, value: str) -> None: ...

class NodeArg:
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> list[int | str | None]: ...

class OrtValue:
    @staticmethod
    def ortvalue_from_numpy(
        array: _Array, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue: ...
    def numpy(self) -> _Array: ...
    def data_ptr(self) -> int: ...
    def shape(self) -> list[int]: ...
    def element_type(self) -> int: ...
    def data_type(self) -> str: ...

class IOBinding:
    def bind_cpu_input(self, name: str, array: _Array) -> None: ...
    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: np.dtype[Any] | type[np.generic],
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None: ...
    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: np.dtype[Any] | type[np.generic] | None = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None: ...
    def bind_ortvalue_input(self, name: str, value: OrtValue) -> None: ...
    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None: ...
    def get_outputs(self) -> list[OrtValue]: ...
    def copy_outputs_to_cpu(self) -> list[_Array]: ...
    def clear_binding_outputs(self) -> None: ...
    def clear_binding_inputs(self) -> None: ...
    def synchronize_inputs(self) -> None: ...
    def synchronize_outputs(self) -> None: ...

class InferenceSession:
    def __init__(
        self,
        path_or_bytes: str | bytes | PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[_Provider] | None = None,
        *,
        disabled_optimizers: Sequence[str] | None = None,
    ) -> None: ...
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, _Array],
        run_options: RunOptions | None = None,
    ) -> list[_Array]: ...
    def run_with_iobinding(
        self, iobinding: IOBinding, run_options: RunOptions | None = None
    ) -> None: ...
    def io_binding(self) -> IOBinding: ...
    def get_inputs(self) -> list[NodeArg]: ...
    def get_outputs(self) -> list[NodeArg]: ...
    def get_providers(self) -> list[str]: ...
    def end_profiling(self) -> str: ...

def get_available_providers() -> list[str]: ...
def preload_dlls(cuda: bool = True, cudnn: bool = True, directory: str | None = None) -> None: ...
def set_default_logger_severity(severity: int) -> None: ...
