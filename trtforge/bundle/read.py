"""Reading a prepared folder, or a bundle, back: what another machine made, and not to be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from trtforge.bundle import manifest
from trtforge.bundle.prepared import IMPLICIT_SUFFIX, SUFFIX, Prepared
from trtforge.errors import ForgeError
from trtforge.names import Precision
from trtforge.options.values import parse_version
from trtforge.recipe import Recipe
from trtforge.store import File


def read_prepared(folder: Path) -> Prepared:
    """A prepared folder (or a bundle, which holds the same), checked against its manifest.

    Raises:
        ForgeError: it is neither, or its files were changed.
    """
    content = manifest.read_manifest(folder)
    edited = [
        name for name in manifest.changed(folder) if name.endswith((".onnx", "calibration.json"))
    ]
    if edited:
        raise ForgeError(
            f"{folder / edited[0]}: not the file that the manifest lists", "prepare again"
        )
    files = {name: File(folder / name, entry["sha256"]) for name, entry in content["files"].items()}
    try:
        batch, size = content["batch"], content["facts"]["size"]
        implicit = bool(content.get("weak", False))
        if not (
            content["graphs"]
            and {"tensorrt", *content["graphs"]} <= content["patches"].keys()
            and "tensorrt" in content["graphs"]
            and [type(side) for side in size] == [int, int]
        ):
            raise ValueError("graphs, patches or size")
        if content["precision"] not in get_args(Precision):
            raise ValueError("precision")
        if [type(each) for each in batch] != [int] * 3 or not 1 <= batch[0] <= batch[1] <= batch[2]:
            raise ValueError("batch")
        if (deepstream := content.get("deepstream")) is not None:
            parse_version(deepstream)
        return Prepared(
            name=Path(str(content["model"])).name,
            precision=content["precision"],
            batch=(batch[0], batch[1], batch[2]),
            recipe=Recipe.model_validate(content["recipe"]),
            facts=dict(content["facts"]),
            inputs=dict(content["inputs"]),
            graphs={
                backend: files[
                    f"{content['model']}{IMPLICIT_SUFFIX if implicit else SUFFIX[backend]}"
                ]
                for backend in content["graphs"]
            },
            patches=dict(content["patches"]),
            table=files.get("calibration.json"),
            deepstream=deepstream,
            implicit=implicit,
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        ValidationError,
        ForgeError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ForgeError(
            f"{folder / manifest.MANIFEST}: incomplete ({reason})", "prepare again"
        ) from error
