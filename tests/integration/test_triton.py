"""A Triton repository, read back by protobuf, and its model run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from conftest import DEMO, LABELS, PHOTOS, ROOT

from tests.models import classifier
from tests.unit.deepstream.schema import parse
from trtforge.backends.onnxruntime import run as infer
from trtforge.backends.onnxruntime import session
from trtforge.calibration.images import prepare
from trtforge.evaluate.detections import finder
from trtforge.evaluate.models import open_model
from trtforge.graph.model import model_of, save
from trtforge.recipe import Nms, Preprocess

PHOTO = sorted((ROOT / "recipes" / "demo" / "validation").glob("*.jpg"))[2]
STOCK = "/opt/nvidia/deepstream/deepstream/lib/libnvds_infercustomparser.so"


@pytest.fixture(scope="session")
def bundles(trtforge, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("for-triton")
    wanted = {
        "fp32": ["--batch", "1:4:8"],
        "int8": ["--int8", "--calib", PHOTOS, "--batch", "4"],
        "raw": ["--nms", "none"],
    }
    for name, more in wanted.items():
        run = trtforge("prepare", DEMO, "--labels", LABELS, *more, "-o", folder / name)
        assert run.code == 0, run.err
    return {name: folder / name for name in wanted}


def test_repository_and_nvinferserver(trtforge, bundles, tmp_path):
    run = trtforge(
        "deepstream",
        "triton",
        bundles["fp32"],
        "-o",
        tmp_path / "repo",
        "--instances",
        "2",
        "--gpu",
        "1",
        "--gpu",
        "3",
        "--delay",
        "500",
        "--json",
    )
    assert run.code == 0, run.err
    assert run.document["backend"] == "onnxruntime"
    files = {
        path.relative_to(tmp_path / "repo").as_posix()
        for path in (tmp_path / "repo").rglob("*")
        if path.is_file()
    }
    assert files == {
        "models/demo/config.pbtxt",
        "models/demo/1/model.onnx",
        "demo_nvinferserver.txt",
        "demo_labels.txt",
    }

    config = parse("ModelConfig", Path(run.document["config"]).read_text())
    assert (config.name, config.platform, config.max_batch_size) == ("demo", "onnxruntime_onnx", 8)
    model = onnx.load(tmp_path / "repo" / "models" / "demo" / "1" / config.default_model_filename)
    kinds = {onnx.TensorProto.FLOAT: 11, onnx.TensorProto.INT32: 8}
    for told, held in ((config.input, model.graph.input), (config.output, model.graph.output)):
        assert [(each.name, each.data_type, list(each.dims)) for each in told] == [
            (
                each.name,
                kinds[each.type.tensor_type.elem_type],
                [dim.dim_value for dim in each.type.tensor_type.shape.dim][1:],
            )
            for each in held
        ]
    assert config.input[0].format == 2  # NCHW
    group = config.instance_group[0]
    assert (group.kind, group.count, list(group.gpus)) == (1, 2, [1, 3])
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500

    plugin = parse("PluginControl", Path(run.document["nvinferserver"]).read_text())
    infer_config = plugin.infer_config
    assert (infer_config.unique_id, list(infer_config.gpu_ids), infer_config.max_batch_size) == (
        1,
        [1],
        8,
    )
    server = infer_config.backend.triton
    assert (server.model_name, server.version, list(server.model_repo.root)) == (
        "demo",
        -1,
        ["models"],
    )
    pre = infer_config.preprocess
    assert (pre.network_format, pre.tensor_order, pre.tensor_name) == (1, 1, config.input[0].name)
    assert (pre.maintain_aspect_ratio, pre.symmetric_padding, pre.frame_scaling_filter) == (1, 1, 1)
    assert pre.normalize.scale_factor == pytest.approx(1 / 255, rel=1e-6)
    assert list(pre.normalize.channel_offsets) == [0, 0, 0]
    post = infer_config.postprocess
    assert (tmp_path / "repo" / post.labelfile_path).read_text() == LABELS.read_text()
    assert post.detection.num_detected_classes == 10
    assert post.detection.custom_parse_bbox_func == "NvDsInferParseCustomTfSSD"
    assert post.detection.WhichOneof("clustering_policy") == "simple_cluster"
    assert post.detection.simple_cluster.threshold == pytest.approx(0.25)
    assert infer_config.custom_lib.path == STOCK
    assert plugin.input_control.process_mode == 1
    # A filter of detections would drop objects that reach below the frame.
    assert not plugin.HasField("output_control")


@pytest.mark.parametrize(
    ("name", "batch", "least"), [("fp32", 1, 0.999), ("fp32", 3, 0.999), ("int8", 2, 0.9)]
)
def test_the_model_runs_and_finds_what_the_reference_finds(
    trtforge, bundles, tmp_path, name, batch, least
):
    assert trtforge("deepstream", "triton", bundles[name], "-o", tmp_path / "repo").code == 0
    planes = np.concatenate([prepare(PHOTO, Preprocess(), (640, 640))] * batch)
    found = infer(session(tmp_path / "repo" / "models" / "demo" / "1" / "model.onnx"), planes)
    reference = open_model(DEMO)
    boxes, scores, labels = finder(reference, Nms())(reference.infer(planes[:1]))
    assert [each.shape for each in found.values()] == [
        (batch, 1),
        (batch, 100, 4),
        (batch, 100),
        (batch, 100),
    ]
    for index in range(batch):
        assert found["detection_classes"].dtype == np.float32
        best = found["detection_boxes"][index, : len(scores)][:, [1, 0, 3, 2]] * 640
        same = found["detection_classes"][index, : len(scores)][None] == labels[:, None]
        away = np.abs(best[None] - boxes[:, None]).max(2)
        near = (same & (away < (0.01 if name == "fp32" else 6))).any(1)
        assert np.mean(near) >= least


def test_raw_outputs_are_handed_on(trtforge, bundles, tmp_path):
    run = trtforge(
        "deepstream",
        "triton",
        bundles["raw"],
        "-o",
        tmp_path / "repo",
        "--grpc",
        "triton.local:8001",
        "--json",
    )
    assert run.code == 0, run.err
    plugin = parse("PluginControl", Path(run.document["nvinferserver"]).read_text())
    assert plugin.infer_config.postprocess.WhichOneof("process_type") == "other"
    assert plugin.output_control.output_tensor_meta
    assert not plugin.infer_config.HasField("custom_lib")
    assert plugin.infer_config.backend.triton.grpc.url == "triton.local:8001"
    config = parse("ModelConfig", Path(run.document["config"]).read_text())
    assert [list(each.dims) for each in config.output] == [[14, 8400]]
    assert not config.HasField("dynamic_batching")  # of one there is nothing to batch


def test_an_engine_becomes_a_plan_beside_other_models(trtforge, bundles, tmp_path):
    """The engine itself is not read: any bytes under its name will do."""
    engine = bundles["fp32"] / "demo.onnx_b8_gpu0_fp32.engine"
    engine.write_bytes(b"ftrt engine")
    (tmp_path / "repo" / "models" / "other").mkdir(parents=True)
    try:
        run = trtforge("deepstream", "triton", bundles["fp32"], "-o", tmp_path / "repo", "--json")
        assert run.code == 0, run.err
    finally:
        engine.unlink()
    config = parse("ModelConfig", Path(run.document["config"]).read_text())
    assert (config.platform, config.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert (
        tmp_path / "repo" / "models" / "demo" / "1" / "model.plan"
    ).read_bytes() == b"ftrt engine"
    assert (tmp_path / "repo" / "models" / "other").is_dir()


@pytest.mark.parametrize("wrong", ["no engine", "backend", "no bundle", "fixed batch", "a file"])
def test_what_is_refused(trtforge, bundles, tmp_path, wrong):
    bundle, more, out = bundles["fp32"], [], tmp_path / "repo"
    if wrong == "no engine":
        more = ["--backend", "tensorrt"]
    elif wrong == "backend":
        more = ["--backend", "pytorch"]
    elif wrong == "no bundle":
        bundle = tmp_path
    elif wrong == "a file":
        out.write_text("")
    else:
        graph = gs.import_onnx(classifier(batch=2))
        save(model_of(graph), tmp_path / "m.onnx")
        assert trtforge("prepare", tmp_path / "m.onnx", "-o", tmp_path / "fixed").code == 0
        bundle = tmp_path / "fixed"
    words = {
        "no engine": "no TensorRT engine",
        "backend": "pytorch",
        "no bundle": "no manifest.json",
        "fixed batch": "fixed at 2",
        "a file": "is a file",
    }[wrong]
    run = trtforge("deepstream", "triton", bundle, "-o", out, *more)
    assert (run.code, run.out) == (2, ""), run.err
    assert words in run.err
    assert not out.is_dir()
