"""From an image file to what the network sees, by the arithmetic of DeepStream's nvinfer.

nvinfer scales with one factor, truncates the scaled side to whole pixels, pads with black on the
right and bottom or on both sides, and computes ``scale * (pixel - offset)``. Calibration,
verification and the nvinfer configuration all read one ``Preprocess``, so they can't disagree.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from trtforge import store
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from trtforge.recipe import Preprocess

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
NOTHING = hashlib.sha256(b"").hexdigest()
MOST_PIXELS = 100_000_000  # more is no photograph but an attack or a mistake
warnings.filterwarnings("ignore", module="PIL")  # of files that it reads all the same


class CorruptImage(Exception):
    """A file that is no readable image; a calibration set may hold a few."""


@dataclass(frozen=True)
class Fit:
    """Where an image of (height, width) pixels lies inside the network's input.

    Attributes:
        height, width: of the scaled image, in pixels.
        top, left: of the scaled image inside the input, in pixels.
    """

    height: int
    width: int
    top: int
    left: int


def list_images(folder: Path) -> list[Path]:
    """Every image file under ``folder``, in the order of its path.

    Raises:
        ForgeError: the folder is missing, or holds no image.
    """
    if not folder.is_dir():
        raise ForgeError(
            f"{folder}: no such folder of images", "give a folder that holds image files"
        )
    files = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    images = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    if not images:
        found = f"{len(files)} files, none of them an image" if files else "it is empty"
        raise ForgeError(
            f"{folder}: no images ({found})", f"images end in {', '.join(sorted(SUFFIXES))}"
        )
    return images


def relative_names(images: list[Path], folder: Path) -> list[str]:
    """The images' paths inside ``folder``."""
    return [image.relative_to(folder).as_posix() for image in images]


def label_names(images: list[Path], folder: Path) -> list[str]:
    """The images' names without folders, as labels have them.

    Raises:
        ForgeError: two have one name.
    """
    found = [image.name for image in images]
    name, count = Counter(found).most_common(1)[0]
    if count > 1:
        raise ForgeError(
            f"{folder}: {count} images are called {name}, and labels go by the name",
            "rename all but one",
        )
    return found


def image_digests(images: list[Path], folder: Path) -> dict[str, str]:
    """sha256 of each image, by its path inside ``folder``; a broken link counts as an empty file."""

    def sha256(image: Path) -> str:
        return store.digest(image) if image.is_file() else NOTHING

    return dict(zip(relative_names(images, folder), map(sha256, images), strict=True))


def folder_digest(digests: dict[str, str]) -> str:
    """One sha256 over names and contents of a folder; ``digests`` as ``image_digests`` gives them."""
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def without_duplicates(images: list[Path], digests: dict[str, str]) -> list[Path]:
    """Of images with the same bytes the first one; ``digests`` as ``image_digests`` gives them."""
    first = {
        sha256: image
        for image, sha256 in zip(reversed(images), reversed(digests.values()), strict=True)
    }
    return [
        image
        for image, sha256 in zip(images, digests.values(), strict=True)
        if first[sha256] is image
    ]


def evenly_spaced(images: Sequence[Path], count: int) -> list[Path]:
    """Return ``count`` images from all over the list, or all of them where there are fewer."""
    count = min(count, len(images))
    return [images[index * len(images) // count] for index in range(count)]


def read(path: Path) -> Image.Image:
    """An 8-bit RGB image, turned upright by its EXIF orientation; alpha is dropped, 16 bits become
    8.

    Raises:
        CorruptImage: the file is no image, is cut short, is larger than 100 megapixels, or has
            pixels of which nobody knows what is white: floating-point numbers, or integers over 16
            bits.
    """
    try:
        if not path.is_file():  # a broken link, or a pipe that nobody writes to
            raise CorruptImage(f"{path}: not a file")
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise CorruptImage(f"{path}: {image.width}x{image.height} pixels")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                deep = np.asarray(upright)
                if deep.min() < 0 or deep.max() > 0xFFFF:
                    raise CorruptImage(f"{path}: integers over 16 bits")
                upright = Image.fromarray((deep >> 8).astype(np.uint8))
            if upright.mode == "F":
                raise CorruptImage(f"{path}: floating-point pixels")
            return upright.convert("RGB")
    except (CorruptImage, MemoryError):
        raise
    # decoders of many hands on anybody's bytes: struct.error, RuntimeError, SyntaxError ...
    except Exception as error:
        raise CorruptImage(f"{path}: {error}") from error


def fit(height: int, width: int, size: tuple[int, int], letterbox: str) -> Fit:
    """Where nvinfer puts an image of that height and width, in pixels.

    Args:
        size: height and width of the network's input.
        letterbox: ``symmetric`` and ``top-left`` keep the aspect ratio, ``none`` stretches.
    """
    in_height, in_width = size
    if letterbox == "none":
        return Fit(in_height, in_width, 0, 0)
    scaled_height = in_width * height / width
    if scaled_height <= in_height:
        inner_height, inner_width = max(1, int(scaled_height)), in_width
    else:
        inner_height, inner_width = in_height, max(1, int(in_height * width / height))
    if letterbox == "top-left":
        return Fit(inner_height, inner_width, 0, 0)
    return Fit(
        inner_height, inner_width, (in_height - inner_height) // 2, (in_width - inner_width) // 2
    )


def letterbox(
    image: Image.Image, spec: Preprocess, size: tuple[int, int], nearest: bool = False
) -> np.ndarray:
    """The network's input as pixels: uint8 of shape (H, W, 3), in RGB; bilinear, or the nearest
    pixels.
    """
    place = fit(image.height, image.width, size, spec.letterbox)
    inner = image
    if image.size != (place.width, place.height):
        # An affine transform samples bilinearly at pixel centres, as nvinfer does; Pillow's
        # resize() would average.
        steps = (image.width / place.width, 0, 0, 0, image.height / place.height, 0)
        sampling = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        inner = image.transform(
            (place.width, place.height), Image.Transform.AFFINE, steps, sampling
        )
    canvas = np.full((*size, 3), spec.padding, np.uint8)
    canvas[place.top : place.top + place.height, place.left : place.left + place.width] = (
        np.asarray(inner)
    )
    return canvas


def normalise(pixels: np.ndarray, spec: Preprocess) -> np.ndarray:
    """``scale * (pixel - offset) / std``: float32 (3, H, W) in the network's colour order, from
    uint8 (H, W, 3) RGB.
    """
    ordered = pixels[..., ::-1] if spec.color == "bgr" else pixels
    planes = np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(np.float32)
    if any(spec.offsets):
        planes -= np.asarray(spec.offsets, np.float32)[:, None, None]
    planes *= np.float32(spec.scale)
    if spec.std:
        planes /= np.asarray(spec.std, np.float32)[:, None, None]
    return planes


def to_pixels(planes: np.ndarray, spec: Preprocess) -> np.ndarray:
    """The network's input (3, H, W) as a picture again: uint8 (H, W, 3), in RGB."""
    pixels = planes / np.float32(spec.scale) + np.asarray(spec.offsets, np.float32)[:, None, None]
    ordered = pixels[::-1] if spec.color == "bgr" else pixels
    shown: np.ndarray = np.clip(np.rint(ordered), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return shown


def prepare(path: Path, spec: Preprocess, size: tuple[int, int]) -> np.ndarray:
    """A batch of one, float32 of shape (1, 3, H, W), from an image file.

    Raises:
        CorruptImage: the file can't be read as an image.
    """
    return normalise(letterbox(read(path), spec, size), spec)[None]
