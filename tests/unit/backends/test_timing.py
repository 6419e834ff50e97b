from __future__ import annotations

import threading
from pathlib import Path

import pytest

from trtforge.backends import _timing
from trtforge.errors import ForgeError


def test_one_at_a_time(tmp_path):
    """A second build waits until the first has written."""
    file, order = tmp_path / "deep" / "t.cache", []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with _timing._locked(file):
            order.append("second")

    with _timing._locked(file):
        other = threading.Thread(target=second)
        other.start()
        entered.wait()
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_without_a_file_it_is_empty(tmp_path):
    assert _timing._read(tmp_path / "none") == b""


def test_file_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(ForgeError, match="can't be written"),
        _timing._locked(Path("/proc/none/t.cache")),
    ):
        pass
