"""Build an engine from a prepared model."""

from __future__ import annotations

from dataclasses import replace

from trtforge.backends.options import BuildOptions
from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Cell
from trtforge.errors import ForgeError
from trtforge.names import Backend
from trtforge.pipeline.targets import place
from trtforge.stages import build
from trtforge.store import Artifact, Store
from trtforge.traits import TRAITS

EngineTask = tuple[Prepared, Target, BuildOptions]


def build_engine(
    prepared: Prepared, target: Target, store: Store, options: BuildOptions
) -> Artifact[build.BuildFacts]:
    """Run the stage ``build`` of the target's backend.

    Raises:
        ForgeError: the prepared folder holds no graph for the backend.
        BuildError: the builder refuses the graph.
    """
    inputs, engine = engine_request(prepared, target, options)
    return store.run(build.stage(engine.backend), inputs, engine)


def engine_request(
    prepared: Prepared, target: Target, options: BuildOptions
) -> tuple[build.EngineInputs, build.EngineOptions]:
    """Return what the stage ``build`` reads for a target.

    Raises:
        ForgeError: the prepared folder holds no graph for the backend.
    """
    backend = needed_backend(target)
    if backend not in prepared.graphs:
        raise ForgeError(
            f"prepared without a graph for {backend}", "make it with `trtforge prepare`"
        )
    implicit_int8 = prepared.implicit and prepared.precision == "int8"
    if implicit_int8:
        options = replace(options, implicit=prepared.recipe.precision.rest)
    inputs = build.EngineInputs(
        model=prepared.graphs[backend],
        ranges=prepared.table if implicit_int8 else None,
        images=prepared.images if implicit_int8 else None,
    )
    device, traits = target.device, TRAITS[backend]
    engine = build.EngineOptions(
        backend=backend,
        sm=device.sm if device and traits.on_gpu else None,
        gpu=device.title if device and traits.builds_on_target else None,
        batch=prepared.batch,
        size=prepared.facts.image_size,
        options=options,
        preprocess=prepared.recipe.preprocess if inputs.images else None,
    )
    return inputs, engine


def engine_cell(prepared: Prepared, target: Target, options: BuildOptions, store: Store) -> Cell:
    """Return the cell that ``build_in_cell`` works on: no more than its own graph travels."""
    backend = needed_backend(target)
    graphs = {name: graph for name, graph in prepared.graphs.items() if name == backend}
    needed = replace(prepared, graphs=graphs, forms={})
    if not prepared.implicit:
        needed = replace(needed, table=None, images=None)
    planned = build_engine(prepared, target, replace(store, planning=True, ran=[]), options)
    task: EngineTask = (needed, target, options)
    return Cell(
        task,
        place(target),
        alone=TRAITS[backend].builds_on_target,
        known=(planned,) if planned.cached else (),
    )


def build_in_cell(task: EngineTask, store: Store) -> Artifact[build.BuildFacts]:
    """Run ``build_engine`` where the target's engine is built."""
    prepared, target, options = task
    return build_engine(prepared, target, store, options)


def needed_backend(target: Target) -> Backend:
    """Return the backend of a target that gets an engine.

    Raises:
        ValueError: the target is a prepared folder.
    """
    if target.backend is None:
        raise ValueError("a prepared folder has no engine")
    return target.backend
