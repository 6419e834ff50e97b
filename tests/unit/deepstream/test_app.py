"""deepstream-app's pipelines, read back by GLib; and cameras, whose passwords are told to nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trtforge.deepstream.app import pipeline as app
from trtforge.deepstream.app.streams import Stream, parse, read, secret
from trtforge.deepstream.format import app_keys
from trtforge.deepstream.format.config import write
from trtforge.deepstream.format.secrets import redact
from trtforge.errors import ForgeError

from .glib import read_ini, read_yaml

GIE = app.Gie("pgie_config.txt", 4)
PIPELINE = app.Pipeline((), GIE)
CAMERAS = tuple(parse(f"rtsp://user:p%40ss@10.0.0.{number}/live") for number in range(5))
WHOLE = replace(
    PIPELINE,
    streams=(
        *CAMERAS,
        parse("csi:0"),
        parse("/dev/video1"),
        parse("file:///a.mp4"),
        parse("https://h/b.ts?k=1"),
    ),
    secondary=(app.Gie("sgie.txt", 16, 2, objects_of=1),),
    tracker="nvdcf-accuracy",
    sinks=app.SINKS,
    interval=2,
)


@pytest.mark.parametrize(
    "pipeline", [PIPELINE, WHOLE, replace(WHOLE, sinks=("fake",), tracker=None)]
)
def test_glib_and_yaml_read_the_same(pipeline: app.Pipeline) -> None:
    sections, comments = app.config(pipeline)
    ini = read_ini(write(sections, "ini", comments, app_keys.app), app_keys.app)
    assert (
        ini == read_yaml(write(sections, "yaml", comments, app_keys.app), app_keys.app) == sections
    )


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 16, 30])
def test_the_sample_has_a_tile_for_every_copy(batch: int) -> None:
    found, _ = app.config(replace(PIPELINE, primary=app.Gie("pgie_config.txt", batch)))
    tiles = found["tiled-display"]
    assert int(str(tiles["rows"])) * int(str(tiles["columns"])) >= batch
    assert found["source0"]["num-sources"] == found["streammux"]["batch-size"] == batch
    assert found["primary-gie"]["batch-size"] == batch
    assert found["primary-gie"]["config-file"] == "pgie_config.txt"


def test_cameras() -> None:
    found, comments = app.config(WHOLE)
    assert found["streammux"]["batch-size"] == 9
    assert found["streammux"]["live-source"] == 1
    assert [found[f"source{number}"]["type"] for number in range(9)] == [4, 4, 4, 4, 4, 5, 1, 2, 2]
    # The % needs no escape: only a source of type 3 has a printf pattern as its URI.
    assert found["source0"]["uri"] == "rtsp://user:p%40ss@10.0.0.0/live"
    assert any("9 sources" in comment for comment in comments)
    assert found["primary-gie"]["batch-size"] == 4  # the engine's, whatever the number of cameras


def test_networks_and_tracker() -> None:
    found, _ = app.config(WHOLE)
    assert (
        found["secondary-gie0"]["operate-on-gie-id"],
        found["secondary-gie0"]["gie-unique-id"],
    ) == (1, 2)
    assert found["tracker"]["ll-config-file"][0].endswith("config_tracker_NvDCF_accuracy.yml")  # type: ignore[index, union-attr]
    for name, (_, sides) in app.TRACKERS.items():
        assert all(side % 32 == 0 for side in sides), name


def test_a_benchmark_draws_nothing() -> None:
    found, _ = app.config(replace(WHOLE, sinks=("fake",)))
    assert found["sink0"]["type"] == 1
    assert found["sink0"]["sync"] == found["tiled-display"]["enable"] == found["osd"]["enable"] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tracker": "sort"}, "--tracker sort"),
        ({"sinks": ("x11",)}, "--sink x11"),
        ({"secondary": (app.Gie("s.txt", 1, 1, 1),)}, "gie-unique-id 1"),
        ({"secondary": (app.Gie("s.txt", 1, 2, 9),)}, "network 9"),
        ({"secondary": (app.Gie("s.txt", 1, 2, 2),)}, "its own"),
        ({"sinks": ("rtsp", "rtsp")}, "--sink rtsp: given twice"),
    ],
)
def test_what_can_not_run_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ForgeError, match=why):
        app.config(replace(PIPELINE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:pass@host:554/a", "rtsp://***@host:554/a"),
        ("rtsp://user:p@ss@host/a", "rtsp://***@host/a"),
        ("rtsp://host/a", "rtsp://host/a"),
        ("https://host/a?token=x&b=1", "https://host/a?***"),
        ("RTSP://u:p@h", "RTSP://***@h"),
        ("uri=rtsp://u:p@h/x # c", "uri=rtsp://***@h/x # c"),
        ("rtsp://u@h/a?x=p@q", "rtsp://***@q"),
        ("file:///a/b.mp4", "file:///a/b.mp4"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "line", ["a" * 10**6, "a:" * 10**5, "rtsp://" * 10**5, "rtsp://u:p@h" + "?" * 10**6]
)
def test_a_line_of_a_megabyte_takes_no_longer_than_its_bytes(line: str) -> None:
    redact(line)  # in quadratic time it would take hours
    assert redact(f"{line}\nrtsp://u:secret@h") == f"{redact(line)}\nrtsp://***@h"


def test_a_stream_shows_itself_without_password() -> None:
    stream = parse("rtsp://user:secret@host/a")
    assert "secret" not in f"{stream} {stream!r} {[stream]}"
    assert secret([stream])
    assert not secret([Stream("file", "file:///a")])


@pytest.mark.parametrize(
    "uri",
    ["rtsp://u:p@ss@10.0.0.1:554/s?a=b:c@d", "rtsp://[::1]:8554/s", "http://h_1", "rtsps://h/a"],
)
def test_hosts(uri: str) -> None:
    assert parse(uri).uri == uri


def test_cameras_of_this_machine_show_what_they_are() -> None:
    cameras = [parse("usb:0"), parse("/dev/video2"), parse("csi:1")]
    assert [str(camera) for camera in cameras] == ["usb:0", "usb:2", "csi:1"]
    assert not secret(cameras)


def test_a_list_of_cameras(tmp_path: Path) -> None:
    path = tmp_path / "cameras.txt"
    path.write_text("# entrance\nrtsp://a/b\n\n  file:///x.mp4\r\nusb:2\n")
    assert [stream.scheme for stream in read(path)] == ["rtsp", "file", "v4l2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "ftp://user:secret@host/a\n",
        "rtsp://user:secret@ho st/a\n",
        "rtsp://\n",
        "word secret\n",
        "rtsp://u:secret@h:xyz/s\n",
        "rtsp://u:secret@/s\n",
        "rtsp://u:secret@h:99999/s\n",
        "http://u:secret@:80/s\n",
        "rtsp://u:secret/1@h/s\n",
    ],
)
def test_a_wrong_list_is_refused_without_its_passwords(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cameras.txt"
    path.write_text(text)
    with pytest.raises(ForgeError) as error:
        read(path)
    assert "secret" not in error.value.problem + error.value.hint
    assert str(path) in error.value.problem
