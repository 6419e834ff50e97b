"""Write a Triton model repository from a bundle, and the configuration for nvinferserver.

```
REPO/models/MODEL/config.pbtxt     for `tritonserver --model-repository REPO/models`
REPO/models/MODEL/1/model.plan     the bundle's TensorRT engine, or
REPO/models/MODEL/1/model.onnx     its DeepStream form, with operators in place of the plugin
REPO/MODEL_nvinferserver.txt       plugin-type=1 in deepstream-app; preprocessing and thresholds
REPO/MODEL_labels.txt
```

Field names are those of Triton's model_config.proto and DeepStream 9.1's nvdsinferserver protos.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict

from trtforge.bundle.prepared import Prepared
from trtforge.bundle.read import read_prepared
from trtforge.deepstream.config.nvinfer import LETTERBOX, STOCK_PARSERS
from trtforge.deepstream.files import check_folder
from trtforge.deepstream.triton.text import Message, Name, text
from trtforge.errors import ForgeError
from trtforge.store.drafts import draft_in
from trtforge.traits import DEEPSTREAM

Backend = Literal["tensorrt", "onnxruntime"]
PLATFORM = {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx"}
FILE = {"tensorrt": "model.plan", "onnxruntime": "model.onnx"}
TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "bool": "TYPE_BOOL",
}
MODELS = "models"  # folder of the repository proper: Triton takes every folder in it for a model
LEAST_SCORE = 0.001  # the parser scans every row, and those that hold no object have score 0


@dataclass(frozen=True)
class Serving:
    """Options for serving the model with Triton.

    Attributes:
        instances: copies of the model on each GPU.
        gpus: their numbers.
        delay: how long the scheduler waits for a larger batch, in microseconds.
        grpc: host:port of a Triton server that DeepStream talks to; None runs the model inside
            DeepStream.
    """

    instances: int = 1
    gpus: tuple[int, ...] = (0,)
    delay: int = 100
    grpc: str | None = None


class TritonJson(TypedDict):
    """The document that ``trtforge deepstream triton --json`` prints."""

    model: str
    backend: str
    config: str
    nvinferserver: str


def write(bundle: Path, out: Path, backend: str, serving: Serving) -> TritonJson:
    """Write repository and configuration into a folder, which may hold other models.

    Args:
        bundle: bundle or prepared folder.
        out: folder, no bundle; files of the same names in it are replaced.
        backend: tensorrt, onnxruntime, or auto: TensorRT where the bundle holds an engine of it.

    Returns:
        ``model``, ``backend``, ``config``, ``nvinferserver``: name, Triton's backend, files.

    Raises:
        ForgeError: the bundle holds no such engine, its batch is fixed, or ``out`` can't be
            written.
    """
    ready = read_prepared(bundle)
    engine = _engine(bundle)
    triton_backend = _backend(backend, engine, bundle)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", ready.name)  # a folder's name, and part of a URL
    if ready.facts.batch is not None:
        raise ForgeError(
            f"{bundle}: the model's batch is fixed at {ready.facts.batch}, and Triton makes batches",
            "export the model with a dynamic batch",
        )
    check_folder(out)
    inputs, outputs, exchanged = _tensors(ready)
    labels = f"{name}_labels.txt"
    with draft_in(out.absolute().parent) as draft:
        version = draft / MODELS / name / "1"
        version.mkdir(parents=True)
        if triton_backend == "tensorrt" and engine:
            shutil.copyfile(engine, version / FILE[triton_backend])
        else:
            (version / FILE[triton_backend]).write_bytes(exchanged)
        config = _model_config(name, triton_backend, ready, inputs, outputs, serving)
        (version.parent / "config.pbtxt").write_text(text(config), encoding="ascii")
        shutil.copyfile(bundle / "labels.txt", draft / labels)
        plugin = _nvinferserver(name, ready, inputs, labels, serving)
        (draft / f"{name}_nvinferserver.txt").write_text(text(plugin), encoding="ascii")
        _merge(draft, out)
    return {
        "model": name,
        "backend": triton_backend,
        "config": str(out / MODELS / name / "config.pbtxt"),
        "nvinferserver": str(out / f"{name}_nvinferserver.txt"),
    }


def _engine(bundle: Path) -> Path | None:
    return next(iter(sorted(bundle.glob("*.onnx_b*.engine"))), None)


def _backend(backend: str, engine: Path | None, bundle: Path) -> Backend:
    if backend not in ("auto", *PLATFORM):
        raise ForgeError(
            f"--backend {backend}: trtforge writes no Triton repository for it",
            f"one of: auto, {', '.join(PLATFORM)}",
        )
    if backend == "tensorrt" and engine is None:
        raise ForgeError(
            f"{bundle}: no TensorRT engine in it",
            "run `trtforge build` on the target, or --backend onnxruntime",
        )
    return "tensorrt" if engine and backend != "onnxruntime" else "onnxruntime"


def _tensors(ready: Prepared) -> tuple[list[Message], list[Message], bytes]:
    """Inputs and outputs as Triton names them, and the DeepStream form as ONNX Runtime can run it."""
    from trtforge.graph.model import graph_of, load, model_of
    from trtforge.graph.nms.exchange import exchange_plugin
    from trtforge.graph.quantize.qdq import widen

    graph = graph_of(load(ready.graphs[DEEPSTREAM].path))
    inputs: list[Message] = [
        {**_tensor(tensor, [3, *ready.facts.image_size]), "format": Name("FORMAT_NCHW")}
        for tensor in graph.inputs
    ]
    outputs = [
        _tensor(tensor, list(tensor.shape[1:]) if tensor.shape else None)
        for tensor in graph.outputs
    ]
    exchange_plugin(graph)
    if any(node.op == "QuantizeLinear" for node in graph.nodes):
        widen(graph)  # ONNX Runtime's INT8 operators take no FP16 scales
    return inputs, outputs, model_of(graph).SerializeToString(deterministic=True)


def _tensor(tensor: Any, dims: list[Any] | None) -> Message:
    """Dimensions are those behind the batch; -1 is any."""
    kind = TYPES.get(str(tensor.dtype and tensor.dtype.name))
    if kind is None or dims is None:
        raise ForgeError(
            f"the tensor {tensor.name!r} has no type or shape that Triton takes",
            "export the model again",
        )
    return {
        "name": tensor.name,
        "data_type": Name(kind),
        "dims": [dim if isinstance(dim, int) and dim > 0 else -1 for dim in dims],
    }


def _model_config(
    name: str,
    backend: Backend,
    ready: Prepared,
    inputs: list[Message],
    outputs: list[Message],
    serving: Serving,
) -> Message:
    most = ready.batch[2]
    return {
        "name": name,
        "platform": PLATFORM[backend],
        "default_model_filename": FILE[backend],
        "max_batch_size": most,
        "input": inputs,
        "output": outputs,
        "instance_group": [
            {"kind": Name("KIND_GPU"), "count": serving.instances, "gpus": list(serving.gpus)}
        ],
        **(
            {
                "dynamic_batching": {
                    "preferred_batch_size": [most],
                    "max_queue_delay_microseconds": serving.delay,
                }
            }
            if most > 1
            else {}
        ),
    }


def _nvinferserver(
    name: str, ready: Prepared, inputs: list[Message], labels: str, serving: Serving
) -> Message:
    """Return the top message of nvinferserver's configuration (PluginControl).

    It has no output_control.detect_control: that would drop every object that reaches below the
    frame.
    """
    spec = ready.recipe.preprocess
    keep_aspect, symmetric = LETTERBOX[spec.letterbox]
    server: Message = (
        {"grpc": {"url": serving.grpc}}
        if serving.grpc
        else {"model_repo": {"root": [MODELS], "strict_model_config": True, "log_level": 1}}
    )
    patch = ready.patches[DEEPSTREAM]
    parser, classes = patch.parser, patch.classes
    detector = bool(parser and classes)
    found: Message = {
        "labelfile_path": labels,
        "detection": {
            "num_detected_classes": classes or 0,
            "custom_parse_bbox_func": parser or "",
            "simple_cluster": {"threshold": max(ready.recipe.nms.score, LEAST_SCORE)},
        },
    }
    return {
        "infer_config": {
            "unique_id": 1,
            "gpu_ids": [serving.gpus[0]],
            "max_batch_size": ready.batch[2],
            "backend": {"triton": {"model_name": name, "version": -1, **server}},
            "preprocess": {
                "network_format": Name(f"IMAGE_FORMAT_{spec.color.upper()}"),
                "tensor_order": Name("TENSOR_ORDER_LINEAR"),
                "tensor_name": inputs[0]["name"],
                "maintain_aspect_ratio": int(keep_aspect),
                "symmetric_padding": int(symmetric),
                "frame_scaling_filter": 1,
                "normalize": {"scale_factor": spec.scale, "channel_offsets": list(spec.offsets)},
            },
            "postprocess": found if detector else {"other": {}},
            **({"custom_lib": {"path": STOCK_PARSERS}} if detector else {}),
        },
        "input_control": {"process_mode": Name("PROCESS_MODE_FULL_FRAME"), "interval": 0},
        **({} if detector else {"output_control": {"output_tensor_meta": True}}),
    }


def _merge(draft: Path, out: Path) -> None:
    """Move every file of the draft to its place, beside whatever else is there."""
    for made in sorted(path for path in draft.rglob("*") if path.is_file()):
        place = out / made.relative_to(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        made.replace(place)
