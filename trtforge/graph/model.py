"""An ONNX file in and out of memory, with nothing in it trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError
from trtforge.graph.order import CycleError, sort_nodes

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

# Bytes of the longest protobuf message. Larger models keep their weights in external data.
PROTOBUF_LIMIT = 2**31 - 1


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX model with its external data, sort its nodes, and inline its local functions.

    Raises:
        ForgeError: the file is missing, is no ONNX, is cut short, is larger than 2 GiB, its nodes
            form a cycle, or its external data is missing or lies outside its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.inliner import inline_local_functions

    if not path.is_file():
        raise ForgeError(f"{path}: no such file", "give the path of an .onnx file")
    _refuse_large(path, path.stat().st_size)
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ForgeError(
            f"{path}: not an ONNX model, or cut short", "export it again, or copy it whole"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ForgeError(
            f"{path}: not an ONNX model (no nodes or no outputs in it)", "export it again"
        )
    if model.graph.sparse_initializer:
        raise ForgeError(
            f"{path}: has sparse initializers, which no rewrite here knows",
            "export it with dense weights",
        )
    changed = _load_external_data(model, path)
    try:
        changed |= sort_nodes(model)
    except CycleError as error:
        raise ForgeError(f"{path}: its nodes form a cycle: {error}", "export it again") from error
    if changed | _complete_outputs(model):
        content = model.SerializeToString()
    _check(model, content, path)
    return inline_local_functions(model) if model.functions else model


def _complete_outputs(model: onnx.ModelProto) -> bool:
    """Give outputs without a type or shape what can be inferred, in place; tell whether there were any.

    The checker refuses such outputs, and ONNX Runtime and TensorRT take them.
    """
    import onnx

    bare = [output for output in model.graph.output if not _has_shape(output)]
    if not bare:
        return False
    inferred = {
        output.name: output for output in onnx.shape_inference.infer_shapes(model).graph.output
    }
    for output in bare:
        if _has_shape(inferred[output.name]):
            output.CopyFrom(inferred[output.name])
    return True


def _has_shape(tensor: onnx.ValueInfoProto) -> bool:
    kind = tensor.type
    return kind.WhichOneof("value") not in (None, "tensor_type") or kind.tensor_type.HasField(
        "shape"
    )


def external_files(path: Path) -> list[Path]:
    """Return the files with the external data of ``path``, without reading the weights.

    Raises:
        ForgeError: model and data are larger than 2 GiB together.
    """
    import onnx

    _refuse_large(path, path.stat().st_size)
    # Nearly no model under 2 GB has any: a scan for the key is far cheaper than a parse.
    if b"location" not in path.read_bytes():
        return []
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # load() says what is wrong with it, when its turn comes
        return []
    names = {
        entry.value
        for tensor in _external_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = [path.parent / name for name in sorted(names)]
    _refuse_large(path, sum(file.stat().st_size for file in [path, *files] if file.is_file()))
    return files


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` to ``path``: the same model gives the same bytes."""
    path.write_bytes(model.SerializeToString(deterministic=True))


def graph_of(model: onnx.ModelProto) -> gs.Graph:
    """Return the graph that every rewrite works on."""
    import ml_dtypes
    import numpy as np
    import onnx
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.ir.tensor import LazyValues
    from onnx_graphsurgeon.logger import G_LOGGER

    G_LOGGER.severity = G_LOGGER.CRITICAL  # it would print to stdout, which carries results only
    graph = gs.import_onnx(model)
    graph.about = about(model)
    # The model's own list would keep all of the model in memory for as long as the graph lives.
    graph.import_domains = [
        onnx.helper.make_opsetid(each.domain, each.version) for each in model.opset_import
    ]
    for tensor in graph.tensors().values():
        # NumPy has no such type: graphsurgeon leaves ONNX's number, and does not read the values.
        if tensor.dtype != onnx.TensorProto.FLOAT8E4M3FN:
            continue
        if isinstance(tensor, gs.Constant) and isinstance(tensor._values, LazyValues):
            tensor.values = onnx.numpy_helper.to_array(tensor._values.tensor)
        else:
            tensor.dtype = np.dtype(ml_dtypes.float8_e4m3fn)
    return graph


def about(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an empty model with what this one says of itself, which no rewrite may lose."""
    import onnx

    return onnx.ModelProto(
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        metadata_props=model.metadata_props,
    )


def state(graph: gs.Graph, key: str, value: str) -> None:
    """Make a graph say something of itself, in the place of what it said under the key."""
    stated = {entry.key: entry.value for entry in graph.about.metadata_props}
    del graph.about.metadata_props[:]
    for name, text in {**stated, key: value}.items():
        graph.about.metadata_props.add(key=name, value=text)


def model_of(graph: gs.Graph) -> onnx.ModelProto:
    """Return the ONNX model of a rewritten graph, sorted, with shapes and types inferred."""
    import onnx

    return onnx.shape_inference.infer_shapes(exported(graph.cleanup().toposort()), data_prop=True)


def exported(graph: gs.Graph) -> onnx.ModelProto:
    """Return the ONNX model of a graph as it is."""
    import onnx
    import onnx_graphsurgeon as gs

    model = gs.export_onnx(graph, do_type_check=False)
    model.MergeFrom(getattr(graph, "about", onnx.ModelProto()))
    # The oldest IR version that the opset allows is read by most; before 4, initializers had to be
    # inputs too.
    model.ir_version = max(
        8, onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    )
    return model


def _refuse_large(path: Path, size: int) -> None:
    """Refuse a file that is too large, before anything of it is read."""
    if size >= PROTOBUF_LIMIT:
        raise ForgeError(
            f"{path}: larger than 2 GiB with its weights", "models of that size are not served"
        )


def _external_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    return [tensor for tensor in _get_all_tensors(model) if uses_external_data(tensor)]


def _load_external_data(model: onnx.ModelProto, path: Path) -> bool:
    """Load external data into a model; tell whether there was any."""
    from onnx.checker import ValidationError
    from onnx.external_data_helper import load_external_data_for_model

    tensors = _external_tensors(model)
    if not tensors:
        return False
    folder = path.parent.resolve()
    total = model.ByteSize()
    for tensor in tensors:
        info = {entry.key: entry.value for entry in tensor.external_data}
        data = folder / info.get("location", "")
        if not Path(os.path.realpath(data)).is_relative_to(folder):
            raise ForgeError(
                f"{path}: external data {info.get('location')!r} lies outside the model's folder",
                "save the model with its data beside it",
            )
        if not data.is_file():
            raise ForgeError(
                f"{path}: external data {info.get('location')!r} is missing",
                f"copy it beside the model, into {path.parent}",
            )
        offset, length = (info.get(key) or "0" for key in ("offset", "length"))
        if not (offset.isdecimal() and length.isdecimal()):
            raise ForgeError(
                f"{path}: external data of {tensor.name} has offset {offset!r} and length {length!r}",
                "export it again",
            )
        available = data.stat().st_size - int(offset)
        end = int(offset) + int(length)
        if int(length) > available:
            raise ForgeError(
                f"{path}: external data {data.name} is cut short ({tensor.name} ends at byte {end})",
                "copy it whole",
            )
        total += int(length) or available
    _refuse_large(path, total)
    try:
        load_external_data_for_model(model, str(folder))
    except ValidationError as error:  # ONNX follows no link
        raise ForgeError(
            f"{path}: {str(error).strip().splitlines()[0]}", "copy the data itself there"
        ) from error
    return True


def _check(model: onnx.ModelProto, content: bytes, path: Path) -> None:
    """Run the ONNX checker on the model's bytes, without TensorRT's plugins, which it cannot know."""
    import onnx

    plugins = {node.op_type for node in model.graph.node if node.op_type.endswith("_TRT")}
    try:
        onnx.checker.check_model(content)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        if not any(plugin in reason for plugin in plugins):
            raise ForgeError(
                f"{path}: not a valid ONNX model: {reason}", "export it again"
            ) from error
