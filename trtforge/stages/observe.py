"""clean + images -> histograms: what passes through the network, tensor by tensor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.cluster import Cell, Workers
from trtforge.errors import ForgeError
from trtforge.store import Facts, File, Stage, Store, digest, source, version_of

if TYPE_CHECKING:
    from trtforge.calibration.observed import Observed

TABLE = "histograms.json"


def run(
    draft: Path, model: Path, images: Path, *, provider: str = "cpu", **observing: Any
) -> Facts:
    """Write ``draft/histograms.json``; see ``observe``.

    Returns:
        numbers of images and tensors, and what was skipped.
    """
    from trtforge.calibration import observed

    found = observe(model, images, provider=provider, **observing)
    observed.save(found, draft / TABLE)
    return {
        "images": len(found.source.images),
        "skipped": found.source.skipped,
        "duplicates": found.source.duplicates,
        "tensors": len(found.early),
        "provider": provider,
    }


def observe(
    model: Path,
    images: Path,
    *,
    preprocess: dict[str, Any],
    taps: str = "explicit",
    provider: str = "cpu",
    shard: tuple[int, int] = (1, 1),
) -> Observed:
    """Histograms of a model's activations over a folder of images.

    Args:
        model: folded float model.
        images: folder of photographs; of several with the same bytes the first one counts.
        preprocess: the recipe's section.
        taps: see ``trtforge.graph.quantize.taps.tapped``.
        provider: ``cpu`` or ``cuda``.
        shard: (I, N), 1 <= I <= N: every N-th image, from the I-th on.

    Raises:
        ForgeError: see ``trtforge.calibration.collect``; there are fewer images than shards; the
            model has not one input of colour images of fixed height and width.
    """
    from trtforge.calibration import images as pictures
    from trtforge.calibration import observed
    from trtforge.calibration.collect import collect
    from trtforge.graph.edit.nodes import input_size
    from trtforge.graph.fold import image_input
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.quantize.taps import tapped
    from trtforge.recipe import Preprocess

    spec = Preprocess.model_validate(preprocess)
    loaded = load(model)
    image_input(loaded)
    graph = graph_of(loaded)
    del loaded  # so that `collect` can let go of the weights in it
    size = input_size(graph)
    if size is None:
        raise ForgeError(
            f"{model}: its input has no fixed height and width",
            "run `trtforge fold --size HxW` first",
        )
    groups = tapped(graph, taps)  # type: ignore[arg-type]
    tensors = [name for _, sources in groups for name in sources]
    found = pictures.list_images(images)
    digests = pictures.image_digests(found, images)
    files = pictures.without_duplicates(found, digests)
    index, count = shard
    mine = files[index - 1 :: count]
    if not mine:
        raise ForgeError(
            f"{images}: {len(files)} different images are too few for {count} shards",
            "take fewer shards",
        )
    # By its place in the whole folder, so that shards add up to what one run would see.
    early = sum(
        position < math.ceil(observed.EARLY * len(files))
        for position in range(index - 1, len(files), count)
    )
    with present.progress(f"calibrating on {len(mine)} images", len(mine)) as done:
        first, rest, skipped = collect(
            graph,
            tensors,
            mine,
            lambda file: pictures.prepare(file, spec, size),
            done,
            early,
            provider,
            len(files),
        )
    used = [file for file in mine if file not in set(skipped)]
    source = observed.Provenance(
        model=digest(model),
        taps=taps,
        preprocess=spec.model_dump(mode="json"),
        images={name: digests[name] for name in sorted(pictures.relative_names(used, images))},
        skipped=sorted(pictures.relative_names(skipped, images)),
        duplicates=len(found) - len(files),
        total=len(files),
        versions={tool: version_of(tool) for tool in STAGE.tools},
    )
    return observed.Observed(source, groups, first, rest)


def spread(model: Path, images: Path, workers: Workers, **observing: Any) -> Observed:
    """``observe``, with the images divided among workers; the same counts. Each shard is kept in
    the store.

    Raises:
        ForgeError: see ``observe`` and ``trtforge.calibration.observed.merge_shards``.
    """
    from trtforge.calibration import images as pictures
    from trtforge.calibration import observed
    from trtforge.graph.model import external_files

    files = pictures.list_images(images)
    digests = pictures.image_digests(files, images)
    count = min(workers.count, len(pictures.without_duplicates(files, digests)))
    inputs = {
        "model": source(model, *external_files(model)),
        "images": File(images, pictures.folder_digest(digests)),
    }
    shards = [
        Cell((inputs, {**observing, "shard": (index, count)})) for index in range(1, count + 1)
    ]
    tables: dict[str, Path] = {}
    for done in workers.run_with_progress(_shard, shards, f"calibrating on {len(files)} images"):
        done.result()
        tables[f"shard {done.number + 1}/{count}"] = done.made[-1].file(TABLE).path
    return observed.merge_shards([observed.load(path) for path in tables.values()], list(tables))


def _shard(arguments: tuple[dict[str, File], dict[str, Any]], store: Store) -> None:
    store.run(STAGE, *arguments)


def say(facts: Facts) -> str:
    parts = [f"{facts['tensors']} tensors on {facts['images']} images"]
    if facts["provider"] != "cpu":
        parts.append(f"on {facts['provider'].upper()}")
    if facts["duplicates"]:
        parts.append(f"{facts['duplicates']} duplicates left out")
    if facts["skipped"]:
        parts.append(f"{len(facts['skipped'])} unreadable skipped: {facts['skipped'][0]}")
    return ", ".join(parts)


TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
STAGE = Stage("observe", 2, TOOLS, run, say)
