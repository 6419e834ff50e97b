"""clean + images -> pictures: what the network sees of each image."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from trtforge import present
from trtforge.calibrate import images as pictures
from trtforge.errors import ForgeError
from trtforge.graph.edit import input_size
from trtforge.graph.model import graph_of, load
from trtforge.recipe import Preprocess
from trtforge.store import draft_in


def write(model: Path | None, images: Path | None, out: Path, spec: Preprocess) -> None:
    """Write a PNG for each image into ``out``: scaled, letterboxed, in the colours that the recipe says.

    The picture is made back from the network's own input, so a wrong scale or offset shows as a wrong brightness.

    Raises:
        ForgeError: the model's size is not fixed, an image can't be read, or ``out`` can't be written.
    """
    if model is None or images is None:
        raise ForgeError("--preview needs a model and images", "drop --merge")
    size = input_size(graph_of(load(model)))
    if size is None:
        raise ForgeError(f"{model}: its input has no fixed height and width", "run `trtforge fold --size HxW` first")
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with --preview")
    files = pictures.list_images(images)
    with draft_in(out.absolute().parent) as draft, present.progress(f"{len(files)} pictures", len(files)) as done:
        made = []
        for number, (file, name) in enumerate(zip(files, pictures.names(files, images), strict=True), 1):
            try:
                seen = pictures.seen(pictures.prepare(file, spec, size)[0], spec)
            except pictures.CorruptImage as error:
                raise ForgeError(str(error), "remove it from the folder") from error
            made.append(draft / f"{name.replace('/', '-')}.png")
            Image.fromarray(seen).save(made[-1])
            done(number)
        out.mkdir(parents=True, exist_ok=True)
        for path in made:
            path.replace(out / path.name)
