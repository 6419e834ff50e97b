"""Progress away from a terminal: a line now and then, of the innermost task."""

from __future__ import annotations

import re
import time

import pytest

from trtforge.cli import terminal


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "EVERY_S", 0.05)


def spoken(capsys: pytest.CaptureFixture[str]) -> list[str]:
    time.sleep(0.3)
    return capsys.readouterr().err.splitlines()


def test_a_long_task_says_how_far_it_is_also_while_nothing_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal.Terminal().task("building") as update:
        assert "building: 0%, 0 s" in spoken(capsys)
        update(0.37)
        lines = spoken(capsys)
        assert re.fullmatch(r"building: 37%, \d s", lines[-1])
        assert len(lines) < 10  # none for each update, one for each period
    assert spoken(capsys) == []  # and it ends with its task


def test_the_innermost_task_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    listener = terminal.Terminal()
    with listener.task("sweep over 4 engines"):
        with listener.task("building") as update:
            update(2.0)
            time.sleep(0.06)
            capsys.readouterr()
            assert {line.partition(",")[0] for line in spoken(capsys)} == {"building: 100%"}
        capsys.readouterr()
        assert {line.partition(":")[0] for line in spoken(capsys)} == {"sweep over 4 engines"}


def test_a_short_task_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "EVERY_S", 10.0)
    with terminal.Terminal().task("folding") as update:
        update(0.5)
    assert capsys.readouterr().err == ""
