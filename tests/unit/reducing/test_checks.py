"""Which failures are one fault, and what a crash of the builder is."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.models import network, yolov7_like
from trtforge.backends.options import PLAIN
from trtforge.reducing.checks import Check, Failure, Tolerance, is_same, run
from trtforge.reducing.child import child

ASSERTION = "[weightsPtr.h::values::{}] Error Code 2: Internal Error (Assertion {} failed. )"
NAMES = {"conv1", "conv2", "act", "n3"}


def refused(text: str) -> Failure:
    return Failure("refused", f"the builder says: {text}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ASSERTION.format(202, "type() == T"), ASSERTION.format(202, "type() == T")),
        ("no implementation for {ForeignNode[conv1...act]}", "no implementation for {ForeignNode[conv1...conv2]}"),
        ("no implementation for conv1 + act", "no implementation for conv2"),
        ("ITopKLayer n3: K exceeds 3840", "ITopKLayer n3: K exceeds 3841"),
        ("(/model.2/Conv: bad)", "(/model.7/Conv: bad)"),
    ],
)  # fmt: skip
def test_names_and_numbers_make_no_other_fault(one: str, other: str) -> None:
    assert is_same(refused(one), refused(other), NAMES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ASSERTION.format(202, "type() == T"), ASSERTION.format(202, "count() == n")),
        ("no implementation for conv1", "network has dynamic inputs, but no profile"),
        ("refuses node 'n3' (NonZero): no plugin", "refuses node 'n3' (TopK): no plugin"),
    ],
)
def test_another_message_is_another_fault(one: str, other: str) -> None:
    assert not is_same(refused(one), refused(other), NAMES)


def test_kinds_of_faults() -> None:
    assert is_same(Failure("crashed", "SIGSEGV: a"), Failure("crashed", "SIGSEGV: b"), ())
    assert not is_same(Failure("crashed", "SIGSEGV"), Failure("refused", "SIGSEGV"), ())
    assert not is_same(Failure("not finite", "x"), Failure("differs", "x"), ())
    assert is_same(Failure("differs", "x"), Failure("not finite", "x"), ())


def check_for(tolerance: Tolerance | None) -> Check:
    return Check("onnxruntime", None, (1, 1, 1), (64, 64), PLAIN, tolerance)


@pytest.mark.parametrize(
    ("tolerance", "kind"),
    [
        (Tolerance(sqnr=30), "differs"),
        (Tolerance(sqnr=10), None),
        (Tolerance(pearson=0.9999), "differs"),
        (Tolerance(pearson=0.9), None),
    ],
)
def test_tolerances(tolerance: Tolerance, kind: str | None, tmp_path: Path) -> None:
    s = network(0)
    onnx.save(s.model(s.op("Neg", "image"), batch=1), tmp_path / "m.onnx")
    image = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    off = -image + 0.1 * image[..., ::-1]  # 20 dB
    found = run(check_for(tolerance), tmp_path / "m.onnx", {"image": image}, {"t0": off})
    assert (found.kind if found else None) == kind


def test_the_process_is_started_again_after_a_crash(tmp_path: Path) -> None:
    onnx.save(yolov7_like(), tmp_path / "m.onnx")
    with child(tmp_path / "log") as process:
        victim = process.process.pid
        assert victim

        def kill() -> None:
            time.sleep(0.5)
            os.kill(victim, signal.SIGSEGV)

        threading.Thread(target=kill).start()
        found = None
        while found is None:
            found = process.check(check_for(None), tmp_path / "m.onnx", {}, {}, 60)
        assert found == Failure("crashed", "SIGSEGV")
        assert process.check(check_for(None), tmp_path / "m.onnx", {}, {}, 60) is None


def test_a_check_ends_with_the_time(tmp_path: Path) -> None:
    onnx.save(yolov7_like(), tmp_path / "m.onnx")
    with child(tmp_path / "log") as process, pytest.raises(TimeoutError):
        process.check(check_for(None), tmp_path / "m.onnx", {}, {}, 0.0)
