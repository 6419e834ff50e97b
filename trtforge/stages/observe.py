"""clean + images -> histograms: what passes through the network, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge import present
from trtforge.cluster import Cell, Workers
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess
from trtforge.stages.size import fixed_size
from trtforge.store import File, Stage, Store, digest, source, version_of

if TYPE_CHECKING:
    from trtforge.calibration.observed import Observed
    from trtforge.graph.quantize.taps import Taps

TABLE = "histograms.json"
TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow")


@dataclass(frozen=True)
class ObserveInputs:
    """A model, and what it sees.

    Attributes:
        model: folded float model.
        images: folder of photographs; of several with the same bytes only the first one counts.
    """

    model: File
    images: File


@dataclass(frozen=True)
class ObserveOptions:
    """Options of observing activations.

    Attributes:
        preprocess: the recipe's section.
        taps: which activations are observed (see ``trtforge.graph.quantize.taps.tapped``).
        provider: ``cpu`` or ``cuda``.
        shard: (I, N), 1 <= I <= N: observe every N-th image, from the I-th on.
    """

    preprocess: Preprocess
    taps: Taps = "explicit"
    provider: str = "cpu"
    shard: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class ObserveFacts:
    """Facts that observing found out.

    Attributes:
        images: number of images that were used.
        skipped: names of images that can't be read.
        duplicates: number of images that were left out, because another one has the same bytes.
        tensors: number of observed activations.
        provider: what ran the model.
    """

    images: int = 0
    skipped: tuple[str, ...] = ()
    duplicates: int = 0
    tensors: int = 0
    provider: str = "cpu"


def run(draft: Path, inputs: ObserveInputs, options: ObserveOptions) -> ObserveFacts:
    """Write ``draft/histograms.json``.

    Raises:
        ForgeError: see ``observe``.
    """
    from trtforge.calibration import observed

    histograms = observe(inputs.model.path, inputs.images.path, options)
    observed.save(histograms, draft / TABLE)
    return ObserveFacts(
        images=len(histograms.source.images),
        skipped=tuple(histograms.source.skipped),
        duplicates=histograms.source.duplicates,
        tensors=len(histograms.early),
        provider=options.provider,
    )


def observe(model: Path, images: Path, options: ObserveOptions) -> Observed:
    """Return histograms of a model's activations over a folder of images.

    Raises:
        ForgeError: see ``trtforge.calibration.collect``; there are fewer images than shards; the
            model has not exactly one input of colour images of fixed height and width.
    """
    from trtforge.calibration import images as pictures
    from trtforge.calibration import observed
    from trtforge.calibration.collect import collect
    from trtforge.graph.fold import image_input
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.quantize.taps import tapped

    loaded = load(model)
    image_input(loaded)
    graph = graph_of(loaded)
    del loaded  # so that `collect` can let go of the weights in it
    size = fixed_size(graph, model)
    groups = tapped(graph, options.taps)
    tensors = [name for _, sources in groups for name in sources]
    listed = pictures.list_images(images)
    digests = pictures.image_digests(listed, images)
    files = pictures.without_duplicates(listed, digests)
    shard = _shard_of(files, options.shard)
    if not shard:
        raise ForgeError(
            f"{images}: {len(files)} different images are too few for {options.shard[1]} shards",
            "take fewer shards",
        )
    with present.progress(f"calibrating on {len(shard)} images", len(shard)) as done:
        first, rest, skipped = collect(
            graph,
            tensors,
            shard,
            lambda file: pictures.prepare(file, options.preprocess, size),
            done,
            _early_images(len(files), options.shard),
            options.provider,
            len(files),
        )
    used = [file for file in shard if file not in set(skipped)]
    provenance = observed.Provenance(
        model=digest(model),
        taps=options.taps,
        preprocess=options.preprocess.model_dump(mode="json"),
        images={name: digests[name] for name in sorted(pictures.relative_names(used, images))},
        skipped=sorted(pictures.relative_names(skipped, images)),
        duplicates=len(listed) - len(files),
        total=len(files),
        versions={tool: version_of(tool) for tool in TOOLS},
    )
    return observed.Observed(provenance, groups, first, rest)


def _shard_of(files: Sequence[Path], shard: tuple[int, int]) -> Sequence[Path]:
    index, count = shard
    return files[index - 1 :: count]


def _early_images(total: int, shard: tuple[int, int]) -> int:
    """Return how many images of a shard are among the early ones of the whole folder.

    An image counts by its place in the folder, so that shards add up to what one run would see.
    """
    from trtforge.calibration.observed import EARLY

    index, count = shard
    return sum(position < math.ceil(EARLY * total) for position in range(index - 1, total, count))


def observe_in_shards(
    model: Path, images: Path, options: ObserveOptions, workers: Workers
) -> Observed:
    """Return the same as ``observe``, with the images divided among workers.

    The store keeps every shard.

    Raises:
        ForgeError: see ``observe`` and ``trtforge.calibration.observed.merge_shards``.
    """
    from trtforge.calibration import images as pictures
    from trtforge.calibration import observed
    from trtforge.graph.model import external_files

    files = pictures.list_images(images)
    digests = pictures.image_digests(files, images)
    count = min(workers.count, len(pictures.without_duplicates(files, digests)))
    inputs = ObserveInputs(
        model=source(model, *external_files(model)),
        images=File(images, pictures.folder_digest(digests)),
    )
    shards = [Cell((inputs, replace(options, shard=(i, count)))) for i in range(1, count + 1)]
    tables: dict[str, Path] = {}
    for done in workers.run_with_progress(_shard, shards, f"calibrating on {len(files)} images"):
        done.result()
        tables[f"shard {done.number + 1}/{count}"] = done.made[-1].file(TABLE).path
    return observed.merge_shards([observed.load(path) for path in tables.values()], list(tables))


def _shard(arguments: tuple[ObserveInputs, ObserveOptions], store: Store) -> None:
    store.run(STAGE, *arguments)


def summarize(facts: ObserveFacts) -> str:
    """Return the facts in a line for people."""
    parts = [f"{facts.tensors} tensors on {facts.images} images"]
    if facts.provider != "cpu":
        parts.append(f"on {facts.provider.upper()}")
    if facts.duplicates:
        parts.append(f"{facts.duplicates} duplicates left out")
    if facts.skipped:
        parts.append(f"{len(facts.skipped)} unreadable skipped: {facts.skipped[0]}")
    return ", ".join(parts)


STAGE = Stage("observe", 3, TOOLS, run, ObserveFacts, summarize)
