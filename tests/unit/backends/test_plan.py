from __future__ import annotations

import json
import struct
import subprocess

import pytest

from trtforge.backends._driver import Machine
from trtforge.backends._plan import engine_bytes, maker, read, start, why_not_here, without_header
from trtforge.errors import ForgeError

ORIN = Machine("Orin", 87, "540.4.0", "13.2")


def plan(
    folder,
    version=(10, 3, 0, 26),
    magic=b"ftrt",
    size=100,
    name="m.onnx_b1_gpu0_fp32.engine",
    **built,
):
    """An engine's header, and a manifest that lists it where facts are given."""
    path = folder / name
    header = magic + bytes(12) + struct.pack("<Q", size) + bytes(version)
    path.write_bytes(header.ljust(size, b"\0"))
    if built:
        content = {
            "format": "trtforge-bundle-1",
            "files": {name: {"sha256": "", "bytes": size}},
            "engine": {"built": built},
        }
        (folder / "manifest.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("magic", "maker"), [(b"ftrt", "TensorRT"), (b"vtrt", "TensorRT-RTX")])
def test_header_says_what_made_it(tmp_path, magic, maker):
    found = read(plan(tmp_path, magic=magic))
    assert (found.maker, found.version) == (maker, "10.3.0.26")


def test_other_files_are_no_engines(tmp_path):
    (tmp_path / "x.engine").write_bytes(b"hello world this is no engine")
    with pytest.raises(ForgeError, match="neither ONNX nor an engine"):
        read(tmp_path / "x.engine")


@pytest.mark.parametrize("left", [10, 99])
def test_rtx_engine_that_was_cut_short(tmp_path, left):
    path = plan(tmp_path, magic=b"vtrt")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ForgeError, match="cut short"):
        read(path)


def test_tensorrt_engine_that_was_cut_short_is_known_by_the_manifest(tmp_path):
    path = plan(tmp_path, sm=87)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(ForgeError, match=r"cut short \(80 bytes of 100\)"):
        read(path)


@pytest.mark.parametrize(
    ("version", "built", "installed", "here", "why"),
    [
        ((10, 3, 0, 26), {"sm": 87}, "10.3.0", ORIN, ""),
        ((10, 3, 0, 26), {}, "10.3.0", ORIN, ""),
        ((10, 6, 0, 26), {}, "10.6.0.post1", ORIN, ""),
        ((10, 13, 3, 9), {}, "10.13.3.9.post1", ORIN, ""),
        (
            (10, 3, 0, 26),
            {"sm": 75},
            "10.16.1.11",
            ORIN,
            "built for SM75 with TensorRT 10.3.0.26; this is SM87 with 10.16.1.11",
        ),
        ((10, 3, 0, 26), {"sm": 75}, "10.3.0", ORIN, "this is SM87 with 10.3.0"),
        (
            (10, 3, 0, 26),
            {},
            "11.4.0.106",
            ORIN,
            "built with TensorRT 10.3.0.26; this is SM87 with 11.4.0.106",
        ),
        ((10, 3, 0, 26), {"sm": 87, "version_compatible": True}, "10.16.1.11", ORIN, ""),
        ((10, 3, 0, 26), {"sm": 80, "hardware_compatible": True}, "10.3.0", ORIN, ""),
        ((10, 3, 0, 26), {"sm": 87}, None, ORIN, "this machine has no TensorRT"),
        ((10, 3, 0, 26), {"sm": 87}, "10.3.0", None, "this machine has no NVIDIA GPU"),
    ],
)
def test_why_an_engine_does_not_load_here(tmp_path, version, built, installed, here, why):
    found = why_not_here(read(plan(tmp_path, version, **built)), installed, here)
    assert why in found
    assert bool(why) == bool(found)


def test_manifest_of_another_file_says_nothing(tmp_path):
    plan(tmp_path, sm=75)
    other = plan(tmp_path, name="other.engine")
    assert why_not_here(read(other), "10.3.0", ORIN) == ""


def wrapped(path, metadata=b'{"task": "detect", "names": {"0": "anvil"}}', length=None):
    """Put a header before an engine, as Ultralytics does."""
    length = len(metadata) if length is None else length
    path.write_bytes(length.to_bytes(4, "little") + metadata + path.read_bytes())
    return path


@pytest.mark.parametrize("magic", [b"ftrt", b"vtrt"])
def test_an_engine_behind_a_header_of_json(tmp_path, magic):
    path = plan(tmp_path, magic=magic)
    plain = path.read_bytes()
    found = read(wrapped(path))
    assert maker(path) == found.maker == {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}[magic]
    assert (found.version, found.start) == ("10.3.0.26", len(path.read_bytes()) - len(plain))
    assert "header of JSON" in found.origin
    assert engine_bytes(path) == plain


@pytest.mark.parametrize("name", ["m.engine", "my 'best' m.engine"])
def test_the_command_cuts_the_header_off(tmp_path, name):
    path = plan(tmp_path, name=name)
    plain = path.read_bytes()
    subprocess.run(without_header(wrapped(path)), shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / f"plain-{path.name}").read_bytes() == plain


@pytest.mark.parametrize(
    ("metadata", "length"),
    [
        (b"{}", 2**32 - 1),
        (b"{}", 0),
        (b"{}", 10_000),
        (b"[1, 2]", None),
        (b"not JSON", None),
        (b"\xff\xfe{}", None),
        (b"[" * 100_000, None),
        (b'{"a": ' + b"9" * 10_000 + b"}", None),
        (b" " * (1 << 20) + b"{}", None),
    ],
)
def test_a_length_or_header_that_is_none(tmp_path, metadata, length):
    path = wrapped(plan(tmp_path), metadata, length)
    assert (start(path), maker(path)) == (0, None)
    with pytest.raises(ForgeError, match="neither ONNX nor an engine"):
        read(path)


def test_a_header_with_nothing_behind_it(tmp_path):
    path = tmp_path / "m.engine"
    path.write_bytes(b"")
    with pytest.raises(ForgeError, match="behind its header of JSON"):
        read(wrapped(path))


def test_an_rtx_engine_that_was_cut_short_behind_a_header(tmp_path):
    path = wrapped(plan(tmp_path, magic=b"vtrt"))
    assert read(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ForgeError, match="cut short"):
        read(path)
