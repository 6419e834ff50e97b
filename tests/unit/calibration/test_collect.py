"""Calibration over a folder: exact, whatever the number of workers, and clear about what is wrong."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.models import SIDE, classifier, network, photographs, yolov7_like
from trtforge.calibration import collect as module
from trtforge.calibration.collect import collect
from trtforge.calibration.cut import cut
from trtforge.calibration.histogram import Histogram, empty
from trtforge.calibration.images import prepare
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of
from trtforge.graph.quantize.qdq import place
from trtforge.recipe import Preprocess

SPEC = Preprocess()


def folder(path: Path, count: int, broken: int = 0) -> list[Path]:
    path.mkdir(exist_ok=True)
    for index in range(count):
        pixels = (photographs(1, seed=index)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"{index:03}.png")
    for index in range(broken):
        (path / f"{index:03}.png").write_bytes(b"no image")
    return sorted(path.iterdir())


def batch(path: Path) -> np.ndarray:
    return prepare(path, SPEC, (SIDE, SIDE))


def silent(_: float) -> None:
    pass


def observed(model: onnx.ModelProto, files: list[Path]) -> dict[str, Histogram]:
    return collect(
        graph_of(model), ["image", *place(graph_of(model)).observed], files, batch, silent
    )[0]


def same(one: dict[str, Histogram], other: dict[str, Histogram]) -> bool:
    return one.keys() == other.keys() and all(
        (one[name].limit, one[name].largest) == (other[name].limit, other[name].largest)
        and np.array_equal(one[name].counts, other[name].counts)
        for name in one
    )


def test_every_value_of_every_image_is_counted(tmp_path: Path) -> None:
    model, files = fold(classifier()), folder(tmp_path / "images", 5)
    found = observed(model, files)
    assert found["image"].counts.sum() == 5 * 3 * SIDE * SIDE
    assert set(found) == {"image", *place(graph_of(model)).observed}
    assert all(histogram.counts.sum() % 5 == 0 for histogram in found.values())


def test_the_input_is_what_was_prepared(tmp_path: Path) -> None:
    files = folder(tmp_path / "images", 3)
    want = Histogram()
    for file in files:
        want.observe(batch(file))
    assert same({"image": observed(fold(classifier()), files)["image"]}, {"image": want})


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_number_of_workers_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    model, files = fold(yolov7_like()), folder(tmp_path / "images", 9)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    one = observed(model, files)
    monkeypatch.setattr(module.os, "cpu_count", lambda: workers)
    assert same(observed(model, files), one)


@pytest.mark.parametrize(
    ("networks", "images", "threads"),
    [(99, 5, [1, 1, 1, 1]), (99, 2, [1, 1]), (2, 5, [2, 2]), (2, 1, [2]), (1, 5, [4]), (0, 5, [4])],
)
def test_each_worker_has_a_network_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: int, images: int, threads: list[int]
) -> None:
    """Its memory is that of one image, then; where few networks fit into memory, each takes several
    cores.
    """
    opened = []
    all_open = threading.Event()
    session = module.onnxruntime.session

    def open_session(*given, **named):
        opened.append(session(*given, **named))
        if len(opened) == len(threads):
            all_open.set()
        return opened[-1]

    def wait(path: Path) -> np.ndarray:
        assert all_open.wait(60)
        return batch(path)

    graph = graph_of(fold(classifier()))
    tensors = place(graph).observed
    weights = sum(array.nbytes for array in cut(graph.copy(), tensors)[1].values())
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(module.onnxruntime, "session", open_session)
    monkeypatch.setattr(module, "MAX_WEIGHT_BYTES", networks * weights)
    collect(graph, tensors, folder(tmp_path / "images", images), wait, silent)
    assert [engine.get_session_options().intra_op_num_threads for engine in opened] == threads


def test_after_an_error_no_more_networks_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0
    session, failed = module.onnxruntime.session, threading.Event()
    stop = module._Stream.stop

    def open_session(*given, **named):
        nonlocal opened
        opened += 1
        assert opened == 1 or failed.wait(60)
        return session(*given, **named)

    def stopped(stream) -> None:
        stop(stream)
        failed.set()

    def fail(_: Path) -> np.ndarray:
        raise KeyError("ours")

    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(module.onnxruntime, "session", open_session)
    monkeypatch.setattr(module._Stream, "stop", stopped)
    graph = graph_of(fold(classifier()))
    with pytest.raises(KeyError):
        collect(graph, place(graph).observed, folder(tmp_path / "images", 5), fail, silent)
    assert opened <= 2


def test_the_order_of_images_does_not_show(tmp_path: Path) -> None:
    model, files = fold(classifier()), folder(tmp_path / "images", 6)
    assert same(observed(model, files), observed(model, files[::-1]))


def test_progress_reaches_the_number_of_images(tmp_path: Path) -> None:
    seen: list[float] = []
    files = folder(tmp_path / "images", 21, broken=1)
    model = fold(classifier())
    collect(graph_of(model), place(graph_of(model)).observed, files, batch, seen.append)
    assert seen == list(range(1, 22))


def test_the_input_alone(tmp_path: Path) -> None:
    graph = graph_of(fold(classifier()))
    found, late, _ = collect(graph, ["image"], folder(tmp_path / "images", 2), batch, silent)
    assert late["image"].counts.sum() == 0
    assert found["image"].counts.sum() == 2 * 3 * SIDE * SIDE


@pytest.mark.parametrize("early", [0, 1, 4, 6])
def test_early_and_late_images_are_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: int
) -> None:
    graph, files = graph_of(fold(classifier())), folder(tmp_path / "images", 6)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 3)
    tensors = ["image", *place(graph).observed]
    first, rest, _ = collect(graph.copy(), tensors, files, batch, silent, early)
    for found, part in ((first, files[:early]), (rest, files[early:])):
        want = collect(graph.copy(), tensors, part, batch, silent)[0] if part else empty(tensors)
        assert same(found, want)


def test_a_fixed_batch_is_filled_with_one_image(tmp_path: Path) -> None:
    found = observed(fold(classifier(batch=4)), folder(tmp_path / "images", 2))
    assert found["image"].counts.sum() == 2 * 4 * 3 * SIDE * SIDE


@pytest.mark.parametrize("images", [4, 24])
def test_no_more_activations_are_alive_however_many_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    """Memory is flat: each worker holds the activations of one image, and nothing of those before."""
    graph = graph_of(fold(classifier()))
    tensors = place(graph).observed
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    count = Histogram.observe

    def observe(histogram: Histogram, array: np.ndarray) -> None:
        nonlocal alive, most
        alive, most = alive + 1, max(most, alive + 1)
        weakref.finalize(array, gone)
        count(histogram, array)

    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(Histogram, "observe", observe)
    collect(graph, tensors, folder(tmp_path / "images", images), batch, silent)
    assert alive == 0
    assert most == len(tensors)


# --------------------------------------------------------------------------------------------------------
# broken


@pytest.mark.parametrize("broken", [1, 2])
def test_a_few_unreadable_images_are_skipped_and_told(tmp_path: Path, broken: int) -> None:
    model, files = fold(classifier()), folder(tmp_path / "images", 40, broken)
    histograms, _, skipped = collect(graph_of(model), ["image"], files, batch, silent)
    assert skipped == files[:broken]
    assert histograms["image"].counts.sum() == (40 - broken) * 3 * SIDE * SIDE


def test_over_five_percent_unreadable_is_refused(tmp_path: Path) -> None:
    model, files = fold(classifier()), folder(tmp_path / "images", 40, broken=3)
    with pytest.raises(ForgeError, match="the third of 40") as caught:
        observed(model, files)
    assert "5 %" in caught.value.hint


def test_one_unreadable_of_a_few_is_refused(tmp_path: Path) -> None:
    files = folder(tmp_path / "images", 3, broken=1)
    with pytest.raises(ForgeError, match=r"000\.png: not a readable image, the first of 3"):
        observed(fold(classifier()), files)


def test_a_shard_is_judged_by_the_whole_folder(tmp_path: Path) -> None:
    """One run over 40 images takes two unreadable ones: so do its shards, wherever they fall."""
    graph, files = graph_of(fold(classifier())), folder(tmp_path / "images", 5, broken=2)
    _, _, skipped = collect(graph.copy(), ["image"], files, batch, silent, total=40)
    assert skipped == files[:2]
    with pytest.raises(ForgeError, match="the second of 39"):
        collect(graph.copy(), ["image"], files, batch, silent, total=39)


def test_a_network_that_fails_on_its_images_is_refused(tmp_path: Path) -> None:
    """Two branches of an odd size meet."""
    s = network(0)
    one, two = s.conv("image", (3, 4), 3, 2), s.conv(s.maxpool("image", 2, 2), (3, 4))
    x = s.op("Add", one, two)
    model = fold(s.model(s.conv(x, (4, 4)), side="side"))
    with pytest.raises(ForgeError, match="the model fails on an input of 1x3x65x65"):
        collect(
            graph_of(model),
            [x],
            folder(tmp_path / "images", 1),
            lambda file: prepare(file, SPEC, (65, 65)),
            silent,
        )


def test_nan_names_the_tensor_and_the_image(tmp_path: Path) -> None:
    s = network(0)
    x = s.op("Sqrt", s.op("Sub", "image", s.const(0.5)))
    model = fold(s.model(s.conv(x, (3, 4))))
    files = folder(tmp_path / "images", 3)
    with pytest.raises(ForgeError, match=rf"activation '{x}' is NaN or infinite on .*\d\d\d\.png"):
        observed(model, files)


def test_infinity_names_the_tensor(tmp_path: Path) -> None:
    s = network(0)
    x = s.op("Exp", s.op("Mul", "image", s.const(1e6)))
    with pytest.raises(ForgeError, match=f"activation '{x}' is NaN or infinite"):
        observed(fold(s.model(s.conv(x, (3, 4)))), folder(tmp_path / "images", 2))


def test_errors_of_ours_keep_their_traceback(tmp_path: Path) -> None:
    def fail(_: Path) -> np.ndarray:
        raise KeyError("ours")

    model = fold(classifier())
    with pytest.raises(KeyError):
        collect(
            graph_of(model),
            place(graph_of(model)).observed,
            folder(tmp_path / "images", 2),
            fail,
            silent,
        )
