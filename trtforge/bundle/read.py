"""Read a prepared folder or a bundle.

Such a folder may come from another machine, so nothing in it is trusted.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from trtforge.bundle.folder import MANIFEST, changed, listed_files, read_document
from trtforge.bundle.manifest import Manifest
from trtforge.bundle.prepared import IMPLICIT_SUFFIX, Prepared
from trtforge.errors import ForgeError
from trtforge.names import TABLE
from trtforge.store import File
from trtforge.traits import DEEPSTREAM, TRAITS


def read_prepared(folder: Path) -> Prepared:
    """Return the contents of a prepared folder, or of a bundle, which contains the same and more.

    Raises:
        ForgeError: the folder is neither, or one of its files has changed.
    """
    listed = listed_files(folder)
    # Only the graphs and the calibration table go into an engine; other files may be edited.
    edited = [name for name in changed(folder) if name.endswith((".onnx", TABLE))]
    if edited:
        raise ForgeError(
            f"{folder / edited[0]}: changed since the manifest was written", "prepare again"
        )
    try:
        manifest = Manifest.model_validate(read_document(folder))
        _check_consistency(manifest)
    except ValidationError as error:
        raise _incomplete(folder, _first_problem(error)) from error
    except ValueError as error:
        raise _incomplete(folder, str(error)) from error
    files = {name: File(folder / name, entry.sha256) for name, entry in listed.items()}
    suffixes = {
        name: IMPLICIT_SUFFIX if manifest.implicit else traits.graph_suffix
        for name, traits in TRAITS.items()
    }
    graph_names = {backend: f"{manifest.model}{suffixes[backend]}" for backend in manifest.graphs}
    for name in graph_names.values():
        if name not in files:
            raise _incomplete(folder, f"no {name} among the files")
    return Prepared(
        name=Path(manifest.model).name,
        precision=manifest.precision,
        batch=manifest.batch,
        recipe=manifest.recipe,
        facts=manifest.facts,
        sources=manifest.inputs,
        graphs={backend: files[name] for backend, name in graph_names.items()},
        patches=manifest.patches,
        table=files.get(TABLE),
        deepstream=manifest.deepstream,
        implicit=manifest.implicit,
        origins=manifest.origins,
    )


def _check_consistency(manifest: Manifest) -> None:
    """Check the manifest for faults that its types cannot exclude.

    Raises:
        ValueError: two values contradict each other, or one is missing.
    """
    smallest, best, largest = manifest.batch
    if not smallest <= best <= largest:
        raise ValueError("batch sizes are not in ascending order")
    if manifest.facts.size is None:
        raise ValueError("facts have no size")
    if DEEPSTREAM not in manifest.graphs:
        raise ValueError("no graph for tensorrt")
    if not manifest.patches.keys() >= {DEEPSTREAM, *manifest.graphs}:
        raise ValueError("a graph has no entry in patches")


def _incomplete(folder: Path, reason: str) -> ForgeError:
    return ForgeError(f"{folder / MANIFEST}: incomplete ({reason})", "prepare again")


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].partition("\n")[0]
    return f"{place}: {message}" if place else message
