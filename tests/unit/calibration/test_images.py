"""From files to the network's input, by nvinfer's arithmetic."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trtforge.calibration import images as pictures
from trtforge.calibration.images import (
    CorruptImage,
    Fit,
    fit,
    image_digests,
    letterbox,
    list_images,
    normalise,
    prepare,
    read,
    to_pixels,
    without_duplicates,
)
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess

SIZES = [
    (1, 1),
    (1, 500),
    (500, 1),
    (2, 3),
    (48, 64),
    (64, 48),
    (64, 64),
    (65, 64),
    (63, 200),
    (720, 1280),
    (1080, 1920),
]
INPUTS = [(64, 64), (48, 80), (80, 48), (33, 57)]


def spec(**given: Any) -> Preprocess:
    return Preprocess(**given)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


# -----------------------------------------------------------------------------------------------------
# geometry


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize("size", INPUTS)
def test_fit_keeps_the_aspect_ratio_within_a_pixel(
    height: int, width: int, size: tuple[int, int]
) -> None:
    place = fit(height, width, size, "top-left")
    scale = min(size[0] / height, size[1] / width)
    assert (place.top, place.left) == (0, 0)
    assert place.height in (max(1, int(height * scale)), max(1, round(height * scale)))
    assert place.width in (max(1, int(width * scale)), max(1, round(width * scale)))
    assert place.height == size[0] or place.width == size[1]
    assert place.height <= size[0]
    assert place.width <= size[1]


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize("size", INPUTS)
def test_fit_truncates(height: int, width: int, size: tuple[int, int]) -> None:
    place = fit(height, width, size, "top-left")
    assert place.height <= max(1, size[1] * height / width)
    assert place.width <= max(1, size[0] * width / height)


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize("size", INPUTS)
def test_symmetric_fit_is_centred_and_the_odd_pixel_is_behind(
    height: int, width: int, size: tuple[int, int]
) -> None:
    place, corner = fit(height, width, size, "symmetric"), fit(height, width, size, "top-left")
    assert (place.height, place.width) == (corner.height, corner.width)
    assert size[0] - place.height - 2 * place.top in (0, 1)
    assert size[1] - place.width - 2 * place.left in (0, 1)


@pytest.mark.parametrize("height,width", SIZES)
def test_no_letterbox_stretches(height: int, width: int) -> None:
    assert fit(height, width, (48, 80), "none") == Fit(48, 80, 0, 0)


@pytest.mark.parametrize(
    ("frame", "size", "want"),
    [
        ((720, 1280), (640, 640), Fit(360, 640, 140, 0)),
        ((1280, 720), (640, 640), Fit(640, 360, 0, 140)),
        ((1080, 1920), (640, 640), Fit(360, 640, 140, 0)),
        ((427, 640), (416, 416), Fit(277, 416, 69, 0)),
        ((640, 640), (640, 640), Fit(640, 640, 0, 0)),
    ],
)
def test_known_fits(frame: tuple[int, int], size: tuple[int, int], want: Fit) -> None:
    assert fit(*frame, size, "symmetric") == want


def bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sampled at pixel centres in float64; the border is repeated."""
    rows, columns = (
        (np.arange(n) + 0.5) * old / n - 0.5
        for n, old in ((height, len(pixels)), (width, pixels.shape[1]))
    )

    def along(values: np.ndarray, at: np.ndarray) -> np.ndarray:
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *[1] * (values.ndim - 1))
        one, other = (values[np.clip(index, 0, len(values) - 1)] for index in (low, low + 1))
        return one * (1 - share) + other * share

    down = along(pixels.astype(np.float64), rows)
    return along(down.swapaxes(0, 1), columns).swapaxes(0, 1)


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize("mode", ["symmetric", "top-left", "none"])
def test_letterbox_against_a_float64_reference(height: int, width: int, mode: str) -> None:
    pixels, size = noise(height, width), (48, 80)
    place = fit(height, width, size, mode)
    want = np.full((*size, 3), 7.0)
    inside = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
    want[inside] = bilinear(pixels, place.height, place.width)
    got = letterbox(Image.fromarray(pixels), spec(letterbox=mode, padding=7), size)
    assert (got.shape, got.dtype) == ((48, 80, 3), np.uint8)
    # Pillow interpolates in fixed or single precision and rounds once.
    assert np.abs(got - want).max() <= 1.001


def test_the_same_size_changes_no_pixel() -> None:
    pixels = noise(64, 64)
    np.testing.assert_array_equal(letterbox(Image.fromarray(pixels), spec(), (64, 64)), pixels)


@pytest.mark.parametrize("padding", [0, 114, 255])
def test_the_bars_have_the_padding_value(padding: int) -> None:
    got = letterbox(Image.fromarray(noise(32, 64)), spec(padding=padding), (64, 64))
    assert (got[:16] == padding).all()
    assert (got[48:] == padding).all()
    assert (got[16:48] != padding).any()


# ----------------------------------------------------------------------------------------------------
# arithmetic


def test_normalise_is_scale_times_pixel_minus_offset() -> None:
    pixels = noise(5, 7)
    got = normalise(pixels, spec(scale=0.017, offsets=(103.5, 116.25, 123.0)))
    want = 0.017 * (
        pixels.transpose(2, 0, 1).astype(np.float64)
        - np.array([103.5, 116.25, 123.0])[:, None, None]
    )
    assert (got.shape, got.dtype) == ((3, 5, 7), np.float32)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_offsets_are_in_the_order_of_the_network() -> None:
    pixels = np.full((1, 1, 3), (10, 20, 30), np.uint8)
    rgb = normalise(pixels, spec(scale=1.0, offsets=(1, 2, 3)))
    bgr = normalise(pixels, spec(scale=1.0, offsets=(1, 2, 3), color="bgr"))
    assert rgb.ravel().tolist() == [9, 18, 27]
    assert bgr.ravel().tolist() == [29, 18, 7]


def test_black_and_white() -> None:
    pixels = np.array([[[0] * 3, [255] * 3]], np.uint8)
    assert normalise(pixels, spec())[:, 0].tolist() == [[0.0, 1.0]] * 3


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"color": "bgr"},
        {"scale": 1.0},
        {"scale": 1e-6},
        {"scale": 0.0171, "offsets": (103.5, 116.25, 123.7)},
        {"color": "bgr", "offsets": (1.5, 200.0, 255.0), "scale": 1 / 127.5},
    ],
)
def test_the_input_as_a_picture_again(given: dict[str, Any]) -> None:
    """Every level of every channel comes back."""
    pixels = np.stack(
        [np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 7)], -1
    ).astype(np.uint8)[None]
    np.testing.assert_array_equal(
        to_pixels(normalise(pixels, spec(**given)), spec(**given)), pixels
    )


def test_results_are_contiguous_and_pixels_left_alone() -> None:
    pixels = noise(5, 7)
    before = pixels.copy()
    assert normalise(pixels, spec(color="bgr", offsets=(1, 1, 1))).flags.c_contiguous
    np.testing.assert_array_equal(pixels, before)


def test_prepare_makes_a_batch_of_one(tmp_path: Path) -> None:
    pixels = noise(64, 64)
    got = prepare(saved(tmp_path / "a.png", pixels), spec(), (64, 64))
    np.testing.assert_array_equal(got, normalise(pixels, spec())[None])


# ---------------------------------------------------------------------------------------------------------
# files


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    pixels = noise(9, 11)
    np.testing.assert_array_equal(np.asarray(read(saved(tmp_path / f"a{suffix}", pixels))), pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_formats_with_loss(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    assert (
        np.abs(np.asarray(read(saved(tmp_path / f"a{suffix}", pixels))).astype(int) - pixels).max()
        < 8
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    pixels = noise(4, 6)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read(saved(tmp_path / "a.png", pixels, exif=exif))
    np.testing.assert_array_equal(np.asarray(got), upright)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = noise(5, 7)[..., 0]
    got = np.asarray(read(saved(tmp_path / "a.png", grey)))
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, 2))


def test_grey_with_alpha_and_one_bit(tmp_path: Path) -> None:
    Image.new("LA", (3, 2), (77, 10)).save(tmp_path / "la.png")
    Image.new("1", (3, 2), 1).save(tmp_path / "one.png")
    assert set(np.unique(np.asarray(read(tmp_path / "la.png")))) == {77}
    assert set(np.unique(np.asarray(read(tmp_path / "one.png")))) == {255}


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(read(tmp_path / "a.png")), np.full((2, 3, 3), (9, 8, 7))
    )


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(
        np.asarray(read(tmp_path / "a.png")), np.full((2, 3, 3), (9, 8, 7))
    )


def test_alpha_is_dropped(tmp_path: Path) -> None:
    pixels = np.concatenate([noise(5, 7), np.zeros((5, 7, 1), np.uint8)], 2)
    np.testing.assert_array_equal(
        np.asarray(read(saved(tmp_path / "a.png", pixels))), pixels[..., :3]
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 255, 256], [0x1234, 0x80FF, 0xFFFF]], np.uint16)
    got = np.asarray(read(saved(tmp_path / f"a{suffix}", deep)))
    np.testing.assert_array_equal(got[..., 0], deep >> 8)


def test_pixels_whose_white_nobody_knows_are_corrupt(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "int.tif")
    for name, reason in (("float", "floating-point"), ("int", "over 16 bits")):
        with pytest.raises(CorruptImage, match=reason):
            read(tmp_path / f"{name}.tif")


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = np.asarray(read(tmp_path / "a.jpg"))[8, 8]
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_truncated_files_are_corrupt(tmp_path: Path, share: float) -> None:
    for suffix in (".jpg", ".png"):
        path = saved(tmp_path / f"a{suffix}", noise(64, 64))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(CorruptImage, match=path.name):
            read(path)


@pytest.mark.parametrize(
    "content",
    [b"this is text", b"\xff\xd8\xff\xe0 not really", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"],
)
def test_what_is_no_image_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(CorruptImage):
        read(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bytes_that_were_changed_never_escape_as_another_error(tmp_path: Path) -> None:
    """Whatever a damaged file does to the decoder, it is an image or corrupt."""
    rng = np.random.default_rng(0)
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp"):
        whole = saved(tmp_path / f"whole{suffix}", noise(16, 16)).read_bytes()
        for _ in range(30):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 4):
                damaged[at] = int(rng.integers(256))
            (tmp_path / f"a{suffix}").write_bytes(damaged)
            with suppress(CorruptImage):
                assert read(tmp_path / f"a{suffix}").mode == "RGB"


def test_a_damaged_exif_tag_is_corrupt(tmp_path: Path) -> None:
    """Pillow's reader of tags raises what ``struct`` does."""
    orientation = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    text_for_a_number = b"\x01\x19\0\x02\0\0\0\x06\0\0\0&"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + text_for_a_number + orientation + b"\0\0\0\0hello\0"
    with pytest.raises(CorruptImage, match=r"a\.jpg"):
        read(saved(tmp_path / "a.jpg", noise(16, 16), exif=exif))


def test_a_missing_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CorruptImage):
        read(tmp_path / "a.jpg")


def test_a_pipe_is_corrupt_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(CorruptImage, match="not a file"):
        read(tmp_path / "a.jpg")
    assert image_digests([tmp_path / "a.jpg"], tmp_path) == {"a.jpg": hashlib.sha256().hexdigest()}


def test_too_many_pixels_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 99)
    with pytest.raises(CorruptImage, match="10x10 pixels"):
        read(saved(tmp_path / "a.png", noise(10, 10)))


def test_a_bomb_is_corrupt(tmp_path: Path) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png", compress_level=1)
    with pytest.raises(CorruptImage):
        read(tmp_path / "bomb.png")


# -------------------------------------------------------------------------------------------------------
# folders


def test_images_are_found_in_order_and_below(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.PNG", "a/c.jpeg", "notes.txt", "A.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["A.webp", "a/c.jpeg", "a/z.PNG", "b.jpg"]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such folder"):
        list_images(tmp_path / "none")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="it is empty"):
        list_images(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ForgeError, match="1 files, none of them an image"):
        list_images(tmp_path)


def test_of_equal_images_the_first_counts(tmp_path: Path) -> None:
    for name, content in (
        ("a/1.jpg", b"x"),
        ("a/2.png", b"y"),
        ("b/0.jpg", b"x"),
        ("c.jpg", b"z"),
        ("d.png", b"y"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    files = list_images(tmp_path)
    kept = without_duplicates(files, image_digests(files, tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in kept] == [
        "a/1.jpg",
        "a/2.png",
        "c.jpg",
    ]
    assert without_duplicates([], {}) == []


def test_links_outside_the_folder_are_not_followed(tmp_path: Path) -> None:
    """A link to a folder could lead round in a circle; a link to a file is a file."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    saved(tmp_path / "out" / "a.png", noise(4, 4))
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "out" / "a.png")
    assert [path.name for path in list_images(tmp_path / "in")] == ["b.png"]


def test_digests_by_path_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"abc")
    assert image_digests(list_images(tmp_path), tmp_path) == {
        "sub/a.jpg": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
