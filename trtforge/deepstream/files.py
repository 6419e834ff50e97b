"""The files that ``trtforge deepstream`` writes: all of them, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from typing_extensions import TypedDict

from trtforge.bundle.folder import MANIFEST
from trtforge.deepstream.app import pipeline as app
from trtforge.deepstream.app.streams import Stream, secret
from trtforge.deepstream.config import describe, nvinfer
from trtforge.deepstream.format import app_keys, config
from trtforge.deepstream.format.dialects import MAX_BYTES
from trtforge.errors import ForgeError
from trtforge.store.drafts import draft_in


class NetworkJson(describe.DescribedJson):
    """The document that ``trtforge deepstream config --json`` prints."""

    files: list[str]
    remarks: list[str]


class PipelineJson(TypedDict):
    """The document that ``trtforge deepstream app --json`` prints."""

    files: list[str]
    streams: list[str]
    remarks: list[str]


def network(
    model: describe.Model,
    request: describe.NetworkRequest,
    out: Path,
    deepstream: str,
    prefix: str,
    force: bool,
) -> NetworkJson:
    """Write ``pgie_config.txt``, ``.yml`` and labels (or ``sgie_...``) into ``out``.

    Raises:
        ForgeError: the request does not fit the model, or a file is there already.
    """
    made, labels = describe.network(model, request, out, deepstream)
    made = replace(made, labels=f"{prefix}_labels.txt")
    sections, comments = nvinfer.config(made)
    contents = {
        f"{prefix}_config.txt": config.write(sections, "ini", comments),
        f"{prefix}_config.yml": config.write(sections, "yaml", comments),
    }
    if made.kind != "tensors":
        contents[made.labels] = labels
    inputs = [model.recipe.labels] if isinstance(model.recipe.labels, Path) else []
    put(out, contents, force, inputs)
    return {
        "files": [str(out / name) for name in contents],
        **describe.document(made),
        "remarks": [*comments[1:], *describe.remarks(model, made)],
    }


def pipeline(
    primary: Path,
    secondary: Sequence[Path],
    cameras: Sequence[Stream],
    listed: Path | None,
    out: Path,
    *,
    tracker: str | None,
    sinks: tuple[str, ...],
    frame: tuple[int, int],
    interval: int,
    output: str,
    port: int,
    force: bool,
) -> PipelineJson:
    """Write a file for deepstream-app, which only its owner can read if it holds a password.

    Args:
        listed: the file from which cameras come, if any.

    Raises:
        ForgeError: a configuration can't be read, does not fit the others, or is ``out`` itself.
    """
    folder = out.absolute().parent
    sections, comments = app.config(
        app.Pipeline(
            streams=tuple(cameras),
            primary=_gie(primary, folder, False),
            secondary=tuple(_gie(path, folder, True) for path in secondary),
            tracker=tracker,
            sinks=sinks,
            frame=frame,
            interval=interval,
            output=output,
            port=port,
        )
    )
    text = config.write(sections, "ini", comments, app_keys.app)
    videos = [
        Path(unquote(camera.uri.removeprefix("file://")))
        for camera in cameras
        if camera.scheme == "file"
    ]
    inputs = [primary, *secondary, *([listed] if listed else []), *videos]
    put(folder, {out.name: text}, force, inputs, private=secret(cameras))
    return {
        "files": [str(out)],
        "streams": [str(camera) for camera in cameras],
        "remarks": comments[1:],
    }


def _gie(path: Path, folder: Path, secondary: bool) -> app.Gie:
    properties = config.read(path).get("property", {})
    if not properties:
        raise ForgeError(f"{path}: has no property group", "give a configuration of nvinfer")
    objects = properties.get("process-mode", 1) == 2
    if objects != secondary:
        want = "a secondary network's: --sgie" if objects else "a primary network's"
        raise ForgeError(f"{path}: is {want}", "process-mode says so: 1 for frames, 2 for objects")
    parent = properties.get("operate-on-gie-id")
    return app.Gie(
        config=os.path.relpath(path.resolve(), folder.resolve()),
        batch=int(str(properties.get("batch-size", 1))),
        unique_id=int(str(properties.get("gie-unique-id", 2 if secondary else 1))),
        objects_of=None if parent is None else int(str(parent)),
    )


def check_folder(out: Path) -> None:
    """Hold a folder to being none, or one of the user's.

    Raises:
        ForgeError: it is a file or a bundle.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    if (out / MANIFEST).is_file():
        raise ForgeError(
            f"{out}: is a bundle, whose manifest lists what is in it", "give another folder with -o"
        )


def put(
    out: Path,
    contents: Mapping[str, str],
    force: bool,
    inputs: Sequence[Path] = (),
    private: bool = False,
) -> None:
    """Write text files into a folder, all or none.

    Args:
        inputs: files that were read, which even ``force`` does not replace.

    Raises:
        ForgeError: the folder is a bundle or can't be written; another file of a name is there and
            ``force`` is not.
    """
    check_folder(out)
    for name, text in contents.items():
        path = out / name
        if any(_one(path, given) for given in inputs) and not _same(path, text):
            raise ForgeError(
                f"{path}: is read for this, and would be replaced", "give another name with -o"
            )
        if path.exists() and not force and not _same(path, text):
            raise ForgeError(f"{path}: is there already, and different", "--force replaces it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with draft_in(out.absolute()) as draft:
            for name, text in contents.items():
                descriptor = os.open(
                    draft / name, os.O_WRONLY | os.O_CREAT, 0o600 if private else 0o644
                )
                with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                    stream.write(text)
            for name in contents:
                (draft / name).replace(out / name)
    except OSError as error:
        raise ForgeError(
            f"{out}: can't be written ({error.strerror})", "give another folder with -o"
        ) from error


def _one(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _same(path: Path, text: str) -> bool:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    return path.read_bytes() == text.encode()
