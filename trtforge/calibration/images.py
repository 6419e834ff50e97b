"""Turn image files into the network's input, by the arithmetic of DeepStream's nvinfer.

nvinfer scales with one factor, truncates the scaled side to whole pixels, pads with black (on the
right and bottom, or on both sides) and computes ``scale * (pixel - offset)``. Calibration,
verification and the nvinfer configuration all read the same ``Preprocess``, so they can't differ.
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
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trtforge import store
from trtforge.errors import ForgeError
from trtforge.names import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from trtforge.recipe import Preprocess

EMPTY_FILE_DIGEST = hashlib.sha256(b"").hexdigest()
MAX_PIXELS = 100_000_000  # a larger image is an attack or a mistake, not a photograph
# Pillow warns about small flaws in files that it reads all the same.
warnings.filterwarnings("ignore", module="PIL")


class CorruptImage(Exception):
    """A file can't be read as an image; a calibration set may contain a few such files."""


@dataclass(frozen=True)
class Fit:
    """The place of a scaled image inside the network's input.

    Attributes:
        height, width: size of the scaled image, in pixels.
        top, left: position of its first pixel inside the input, in pixels.
    """

    height: int
    width: int
    top: int
    left: int


def list_images(folder: Path) -> list[Path]:
    """Return every image file under ``folder``, sorted by path.

    Raises:
        ForgeError: the folder is missing, or contains no image.
    """
    if not folder.is_dir():
        raise ForgeError(f"{folder}: no such folder of images", "give a folder with image files")
    files = [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
    images = sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        content = f"{len(files)} files, none of them an image" if files else "it is empty"
        raise ForgeError(
            f"{folder}: no images ({content})", f"images end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return images


def relative_names(images: list[Path], folder: Path) -> list[str]:
    """Return the paths of the images relative to ``folder``, with slashes."""
    return [image.relative_to(folder).as_posix() for image in images]


def label_names(images: list[Path], folder: Path) -> list[str]:
    """Return the file names of the images, without folders, as label files list them.

    Raises:
        ForgeError: two images have the same name.
    """
    names = [image.name for image in images]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ForgeError(
            f"{folder}: {count} images are called {name}, and labels find images by name",
            "rename all but one",
        )
    return names


def image_digests(images: list[Path], folder: Path) -> dict[str, str]:
    """Return each image's sha256, by relative path; a broken link counts as an empty file."""

    def sha256(image: Path) -> str:
        return store.digest(image) if image.is_file() else EMPTY_FILE_DIGEST

    return dict(zip(relative_names(images, folder), map(sha256, images), strict=True))


def folder_digest(digests: dict[str, str]) -> str:
    """Return one sha256 over the names and contents of a folder's images.

    Args:
        digests: the result of ``image_digests``.
    """
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def without_duplicates(images: list[Path], digests: dict[str, str]) -> list[Path]:
    """Return the images without exact copies of an earlier image.

    Args:
        digests: the result of ``image_digests`` for these images.
    """
    known: set[str] = set()
    distinct: list[Path] = []
    for image, sha256 in zip(images, digests.values(), strict=True):
        if sha256 not in known:
            known.add(sha256)
            distinct.append(image)
    return distinct


def evenly_spaced(images: Sequence[Path], count: int) -> list[Path]:
    """Return ``count`` images at equal distances in the list, or all if there are fewer."""
    count = min(count, len(images))
    return [images[index * len(images) // count] for index in range(count)]


def read(path: Path) -> Image.Image:
    """Read an 8-bit RGB image, turned upright by its EXIF orientation.

    An alpha channel is dropped; 16-bit values lose their lower 8 bits.

    Raises:
        CorruptImage: the file is not an image, is incomplete, has over 100 megapixels, or has
            pixels without a known value for white: floats, or integers over 16 bits.
    """
    try:
        if not path.is_file():  # a broken link, or a pipe
            raise CorruptImage(f"{path}: not a file")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CorruptImage(f"{path}: {image.width}x{image.height} pixels")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # integers of 16 or 32 bits
                deep = np.asarray(upright)
                if deep.min() < 0 or deep.max() > 0xFFFF:
                    raise CorruptImage(f"{path}: integers over 16 bits")
                upright = Image.fromarray((deep >> 8).astype(np.uint8))
            if upright.mode == "F":  # 32-bit floats
                raise CorruptImage(f"{path}: floating-point pixels")
            return upright.convert("RGB")
    except (CorruptImage, MemoryError):
        raise
    # Pillow's decoders raise many types for damaged files: struct.error, RuntimeError, SyntaxError.
    except Exception as error:
        raise CorruptImage(f"{path}: {error}") from error


def fit(height: int, width: int, size: tuple[int, int], letterbox: str) -> Fit:
    """Return where nvinfer puts an image inside the network's input, in pixels.

    Args:
        height, width: size of the image.
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
    top, left = (in_height - inner_height) // 2, (in_width - inner_width) // 2
    return Fit(inner_height, inner_width, top, left)


def letterbox(
    image: Image.Image, spec: Preprocess, size: tuple[int, int], nearest: bool = False
) -> NDArray[np.uint8]:
    """Scale and pad an image; return uint8 of shape (H, W, 3), in RGB.

    Args:
        nearest: take the nearest pixels instead of bilinear interpolation.
    """
    place = fit(image.height, image.width, size, spec.letterbox)
    inner = image
    if image.size != (place.width, place.height):
        # An affine transform samples bilinearly at pixel centres, as nvinfer does; Pillow's
        # resize() would average over larger areas.
        steps = (image.width / place.width, 0, 0, 0, image.height / place.height, 0)
        sampling = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        inner_size = (place.width, place.height)
        inner = image.transform(inner_size, Image.Transform.AFFINE, steps, sampling)
    canvas = np.full((*size, 3), spec.padding, np.uint8)
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    canvas[rows, columns] = np.asarray(inner)
    return canvas


def normalise(pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """Return ``scale * (pixel - offset) / std`` for every pixel.

    Args:
        pixels: uint8 of shape (H, W, 3), in RGB.

    Returns:
        float32 of shape (3, H, W), in the network's colour order.
    """
    ordered = pixels[..., ::-1] if spec.color == "bgr" else pixels
    planes = np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(np.float32)
    if any(spec.offsets):
        planes -= np.asarray(spec.offsets, np.float32)[:, None, None]
    planes *= np.float32(spec.scale)
    if spec.std:
        planes /= np.asarray(spec.std, np.float32)[:, None, None]
    return planes


def to_pixels(planes: NDArray[np.float32], spec: Preprocess) -> NDArray[np.uint8]:
    """Turn the network's input (3, H, W) back into a picture: uint8 (H, W, 3), in RGB."""
    pixels = planes / np.float32(spec.scale) + np.asarray(spec.offsets, np.float32)[:, None, None]
    ordered = pixels[::-1] if spec.color == "bgr" else pixels
    rounded: NDArray[np.float32] = np.clip(np.rint(ordered), 0, 255)
    picture: NDArray[np.uint8] = rounded.astype(np.uint8).transpose(1, 2, 0)
    return picture


def prepare(path: Path, spec: Preprocess, size: tuple[int, int]) -> NDArray[np.float32]:
    """Read an image file as a batch of one: float32 of shape (1, 3, H, W).

    Raises:
        CorruptImage: the file can't be read as an image.
    """
    return normalise(letterbox(read(path), spec, size), spec)[None]
