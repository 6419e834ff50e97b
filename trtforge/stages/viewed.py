"""clean + images -> pictures: each image as the network views it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL import Image

from trtforge import present
from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.graph.model import graph_of, load
from trtforge.recipe import Preprocess
from trtforge.stages.size import fixed_size
from trtforge.store.drafts import draft_in


def write(model: Path | None, images: Path | None, out: Path, spec: Preprocess) -> None:
    """Write a PNG of each readable image into ``out``, scaled and letterboxed as the recipe says.

    The pictures lie in folders as the images do. Each is made back from the network's own input,
    so it does not show whether the recipe's scale, offsets and colour order are those that the
    network was trained with: only the network's results show that.

    Raises:
        ForgeError: the model's size is not fixed, or ``out`` is a file, lies among the images or
            can't be written.
    """
    if model is None or images is None:
        raise ForgeError("--preview needs a model and images", "drop --merge")
    size = fixed_size(graph_of(load(model)), model)
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with --preview")
    if out.resolve().is_relative_to(images.resolve()):
        raise ForgeError(f"{out}: lies among the images", "give another folder with --preview")
    files = pictures.list_images(images)
    with (
        draft_in(out.absolute().parent) as draft,
        present.progress(f"{len(files)} pictures", len(files)) as done,
    ):
        made = []
        for number, (file, name) in enumerate(
            zip(files, pictures.relative_names(files, images), strict=True), 1
        ):
            with suppress(pictures.CorruptImage):  # calibration counts and names them
                pixels = pictures.to_pixels(pictures.prepare(file, spec, size)[0], spec)
                made.append(f"{name}.png")
                (draft / made[-1]).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(draft / made[-1])
            done(number)
        for name in made:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).replace(out / name)
