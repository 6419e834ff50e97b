"""Cells on the nodes of a Ray cluster: each on one that has its device, one at a time on each GPU.

A node has a device if it was started with a resource of the device's name (``--resources
'{"orin-nx": 1}'``), or if Ray itself has recognised the GPU (``accelerator_type:A100``). A cell
whose node dies is run again elsewhere. Everything that a node makes is in its own store, and comes
back to the caller's.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from trtforge import __version__, present
from trtforge.cluster import RETRIES, Cell, CellResult, Work, parcel, process_died, run_cell
from trtforge.cluster.parcel import Parcel
from trtforge.devices import Device, this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.store import Artifact, Store, opened

POLL_S = 1.0  # between two looks at the nodes
TRIES = 4  # to connect
ACCELERATOR = "accelerator_type:"
MAKERS = ("nvidia", "tesla")  # in the names of GPUs, not in Ray's
Carried = list[
    tuple[Artifact[object], dict[str, list[bytes]]]
]  # entries, and their files where the caller lacks them


@contextmanager
def connect(on: str, devices: Sequence[Device]) -> Iterator[int]:
    """Ray, while the block runs; gives the number of nodes that work.

    Args:
        on: ``ray`` starts a cluster of this machine alone, ``ray://HOST:PORT`` is one that runs.
        devices: that a cluster started here has: engines for other GPUs are built ahead of time.

    Raises:
        MachineError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MachineError("Ray is not installed", "pip install 'trtforge[ray]'") from error
    try:
        warnings.filterwarnings("ignore", module="ray")  # what goes wrong is said by the exception
        logging.getLogger("ray").setLevel(logging.ERROR)
        if on == "ray":
            here, cores = this_machine(), os.cpu_count() or 1
            resources = {each.name: 1 if here and here.sm == each.sm else cores for each in devices}
            ray.init(
                "local",
                resources=resources,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            _join(on)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = next(
            iter(str(error).strip().splitlines()[::-1]), ""
        )  # a server's traceback ends with its reason
        hint = "`ray start --head` starts one; Python and Ray must be the same versions there"
        raise MachineError(f"{on}: no cluster to work with: {why}", hint) from error
    try:
        yield sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connect to a cluster.

    Its head forks a server for each client while gRPC's threads run there, and now and then that
    server crashes at once (https://github.com/ray-project/ray/issues/60316): the next one may not.
    """
    import ray

    for left in reversed(range(TRIES)):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            return
        except ConnectionAbortedError:
            if not left:
                raise


def run_cells(
    store: Store, timeout: float | None, work: Work, cells: Sequence[Cell]
) -> Iterator[CellResult]:
    """Run cells on the nodes, and give them back as they are done.

    Raises:
        MachineError: no node has a cell's device after ``timeout`` seconds; the cluster is gone.
    """
    import ray

    there = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD")(_run_on_node)
    sent: dict[str, Parcel] = {}
    waiting, running = dict(enumerate(cells)), dict[Any, int]()
    missing: dict[str, float] = {}
    try:
        while waiting or running:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            for number, cell in list(waiting.items()):
                if (needs := demand(nodes, cell)) is not None:
                    message = _message(ray.put, sent, work, cell)
                    running[
                        there.options(**needs).remote(__version__, number, store.force, *message)
                    ] = number
                    del waiting[number]
            _look(
                nodes, [cells[number] for number in [*waiting, *running.values()]], missing, timeout
            )
            if not running:
                time.sleep(POLL_S)
                continue
            for reference in ray.wait(list(running), timeout=POLL_S)[0]:
                number = running.pop(reference)
                yield _back(ray, reference, number, store)
    except ConnectionError as error:
        raise MachineError(
            f"the Ray cluster is gone ({error})", "what is done is in the store: run again"
        ) from error
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def demand(nodes: Sequence[Mapping[str, float]], cell: Cell) -> dict[str, Any] | None:
    """What to ask Ray for, or None where no node has it.

    Args:
        nodes: resources of each node that lives.
    """
    most = max((node.get("CPU", 0) for node in nodes), default=0)
    if cell.device is None:
        return {"num_cpus": most if cell.alone else 1} if most >= 1 else None
    for name in [cell.device.name, *_types(nodes, cell.device)]:
        having = [
            node
            for node in nodes
            if node.get(name, 0) and (node.get("GPU") or not name.startswith(ACCELERATOR))
        ]
        if having:
            gpu, cpu = (
                int(all(node.get(kind, 0) >= 1 for node in having)) for kind in ("GPU", "CPU")
            )
            share = 0.001 if name.startswith(ACCELERATOR) else 1  # Ray counts GPUs, not their types
            return {"num_cpus": cpu, "num_gpus": gpu, "resources": {name: share}}
    return None


def _types(nodes: Sequence[Mapping[str, float]], device: Device) -> list[str]:
    """Ray's own names for a device: the first words of what the GPU is called, as in
    GeForce-RTX-4090 or A100.
    """
    called = [_words(name) for name in device.gpu_names]
    types = {
        name: _words(name.removeprefix(ACCELERATOR))
        for node in nodes
        for name in node
        if name.startswith(ACCELERATOR)
    }
    return sorted(
        name for name, words in types.items() if any(full[: len(words)] == words for full in called)
    )


def _words(name: str) -> list[str]:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return [word for word in words if word not in MAKERS]


def _look(
    nodes: Sequence[Mapping[str, float]],
    cells: Sequence[Cell],
    missing: dict[str, float],
    timeout: float | None,
) -> None:
    """Say what no node has, once, and give up after ``timeout`` seconds.

    Args:
        missing: since when each device has been missing; kept up to date.
    """
    lacking = {
        cell.device.name if cell.device else "CPU" for cell in cells if demand(nodes, cell) is None
    }
    for name in [name for name in missing if name not in lacking]:
        del missing[name]
    for name in sorted(lacking):
        problem = f"none of {len(nodes)} nodes has {name}"
        hint = f"""start one there: ray start --address=HEAD:6379 --resources='{{"{name}": 1}}'"""
        if name not in missing:
            present.note(f"waiting: {problem}; {hint}")
        if (
            timeout is not None
            and time.monotonic() - missing.setdefault(name, time.monotonic()) > timeout
        ):
            raise MachineError(f"{problem} after {timeout:g} s", hint)
        missing.setdefault(name, time.monotonic())


def _message(
    put: parcel.Put, sent: dict[str, Parcel], work: Work, cell: Cell
) -> tuple[bytes, dict[str, Parcel], list[tuple[Artifact[object], dict[str, list[Any]]]]]:
    """What ``_run_on_node`` needs; files that were sent for another cell are not sent again."""
    content, files = parcel.pack((work, cell.arguments))
    for file in files:
        assert file.digest
        if file.digest not in sent:
            sent[file.digest] = parcel.send(file, put)
    known = []
    for artifact in cell.known:
        if not artifact.folder.is_dir():  # only the shared store has it, which the node asks itself
            continue
        if artifact.name not in sent:
            blocks = {
                name: [put(block) for block in parcel.blocks_of(path)]
                for name, path in artifact.files.items()
            }
            sent[artifact.name] = Parcel(artifact.name, "", blocks)
        known.append((artifact, sent[artifact.name].blocks))
    return content, {file.digest: sent[file.digest] for file in files if file.digest}, known


def _run_on_node(
    version: str,
    number: int,
    force: bool,
    content: bytes,
    parcels: dict[str, Parcel],
    known: list[tuple[Artifact[object], dict[str, list[Any]]]],
) -> tuple[CellResult, Carried]:
    """A cell, on its node."""
    import ray

    if version != __version__:
        node = ray.util.get_node_ip_address()
        return CellResult(
            number,
            error=MachineError(
                f"node {node} has trtforge {__version__}, this is {version}",
                "install the same version there",
            ),
        ), []
    store = opened(force=force)
    try:
        for artifact, blocks in known:
            Store(store.root).adopt(artifact, partial(parcel.write, files=blocks, get=ray.get))
        work, arguments = parcel.unpack(
            content, lambda digest: parcel.receive(parcels[digest], ray.get, store)
        )
    except ForgeError as error:  # a store that can't be written
        return CellResult(number, error=error), []
    done = run_cell(number, work, arguments, store)
    has = {artifact.name for artifact, _ in known}
    return done, [
        (
            artifact,
            {}
            if artifact.name in has
            else {name: [path.read_bytes()] for name, path in artifact.files.items()},
        )
        for artifact in done.made
    ]


def _back(ray: Any, reference: Any, number: int, store: Store) -> CellResult:
    """What a node has done; what it made is in ``store`` now."""
    try:
        done, carried = ray.get(reference)
    except ray.exceptions.RayTaskError:  # a bug of ours, with the traceback from there
        raise
    except ray.exceptions.RayError as error:
        return CellResult(number, error=process_died(next(iter(str(error).splitlines()), "")))
    made = [
        store.adopt(artifact, partial(parcel.write, files=files, get=bytes))
        for artifact, files in carried
    ]
    return CellResult(number, done.value, done.error, made)
