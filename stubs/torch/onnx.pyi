from collections.abc import Mapping, Sequence

import onnx
from torch import Tensor, nn
from torch.export import ExportedProgram

class ONNXProgram:
    model_proto: onnx.ModelProto

def export(
    model: nn.Module | ExportedProgram,
    args: tuple[Tensor, ...],
    f: str | None = None,
    *,
    dynamo: bool,
    opset_version: int,
    input_names: Sequence[str],
    output_names: Sequence[str],
    verbose: bool | None = None,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
    dynamic_shapes: tuple[Mapping[int, str], ...] | None = None,
) -> ONNXProgram | None: ...
