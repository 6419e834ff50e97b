"""Run cells on the nodes of a Ray cluster: on nodes with the right device, one cell per GPU.

A node has a device if it was started with a resource of the device's name (``--resources
'{"orin-nx": 1}'``), or if Ray recognised the GPU itself (``accelerator_type:A100``). A cell whose
node dies is run again on another node. What a node makes is in its own store, and is copied to the
caller's store.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from trtforge import present
from trtforge.cluster import RETRIES, Cell, CellResult, Work, parcel, process_died, run_cell
from trtforge.cluster.parcel import Blocks, Parcel
from trtforge.devices import Device, this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.store import Artifact, Store, opened
from trtforge.version import __version__

if TYPE_CHECKING:
    from ray import ObjectRef

POLL_S = 1.0  # seconds between two looks at the nodes
TRIES = 4  # attempts to connect
ACCELERATOR = "accelerator_type:"
MAKERS = ("nvidia", "tesla")  # words in the names of GPUs that Ray's names do not have
# Entries of a node's store; with their files, where the caller does not have them.
Carried = list[tuple[Artifact[object], dict[str, list[bytes]]]]
Nodes = Sequence[Mapping[str, float]]  # the resources of each node that is alive


class Demand(TypedDict, total=False):
    """The resources that a cell needs, as Ray's options."""

    num_cpus: float
    num_gpus: float
    resources: dict[str, float]


@contextmanager
def connect(on: str, devices: Sequence[Device]) -> Iterator[int]:
    """Connect to Ray while the block runs; yield the number of nodes with a CPU.

    Args:
        on: ``ray`` starts a cluster of this machine only; ``ray://HOST:PORT`` is a running cluster.
        devices: devices of a cluster started on this machine, whether or not it has them: engines
            can be built for other GPUs.

    Raises:
        MachineError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MachineError("Ray is not installed", "pip install 'trtforge[ray]'") from error
    try:
        warnings.filterwarnings("ignore", module="ray")  # the exceptions say the same
        logging.getLogger("ray").setLevel(logging.ERROR)
        if on == "ray":
            here, cores = this_machine(), os.cpu_count() or 1
            # One cell at a time on this machine's own GPU; others only build, on the CPU.
            resources = {
                device.name: 1.0 if here and here.sm == device.sm else float(cores)
                for device in devices
            }
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
        lines = str(error).strip().splitlines()  # a traceback of the server: the last line says why
        hint = "start a cluster with `ray start --head`, with the same versions of Python and Ray as here"
        raise MachineError(
            f"{on}: can't connect to a cluster: {lines[-1] if lines else ''}", hint
        ) from error
    try:
        yield sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connect to a cluster.

    The cluster's head forks a server for each client while threads of gRPC run there. Sometimes this
    server crashes at once (https://github.com/ray-project/ray/issues/60316), so another try helps.
    """
    import ray

    for tries_left in reversed(range(TRIES)):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            return
        except ConnectionAbortedError:
            if not tries_left:
                raise


def run_cells(
    store: Store, timeout: float | None, work: Work, cells: Sequence[Cell]
) -> Iterator[CellResult]:
    """Run cells on the nodes, and yield their results as they are done.

    Raises:
        MachineError: no node has a cell's device after ``timeout`` seconds, or the connection to
            the cluster is lost.
    """
    import ray

    task = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD")(_run_on_node)
    sent: dict[str, Parcel] = {}
    waiting = dict(enumerate(cells))
    running: dict[ObjectRef[tuple[CellResult, Carried]], int] = {}
    missing: dict[str, float] = {}
    try:
        while waiting or running:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            for number, cell in list(waiting.items()):
                needs = demand(nodes, cell)
                if needs is not None:
                    message = _message(ray.put, sent, work, cell)
                    reference = task.options(**needs).remote(
                        __version__, number, store.force, *message
                    )
                    running[reference] = number
                    del waiting[number]
            unfinished = [cells[number] for number in (*waiting, *running.values())]
            _note_missing_devices(nodes, unfinished, missing, timeout)
            if not running:
                time.sleep(POLL_S)
                continue
            for reference in ray.wait(list(running), timeout=POLL_S)[0]:
                number = running.pop(reference)
                yield _receive(reference, number, store)
    except ConnectionError as error:
        raise MachineError(
            f"the connection to the Ray cluster is lost ({error})",
            "run again: finished work is in the store",
        ) from error
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def demand(nodes: Nodes, cell: Cell) -> Demand | None:
    """Return the resources that a cell needs; None if no node has them.

    Args:
        nodes: resources of each node that is alive.
    """
    if cell.device is None:
        cpus = max((node.get("CPU", 0) for node in nodes), default=0)
        if cpus < 1:
            return None
        return {"num_cpus": cpus if cell.alone else 1}
    for name in [cell.device.name, *_types(nodes, cell.device)]:
        is_type = name.startswith(ACCELERATOR)
        fitting = [node for node in nodes if node.get(name, 0) and (node.get("GPU") or not is_type)]
        if fitting:
            gpu, cpu = (
                int(all(node.get(kind, 0) >= 1 for node in fitting)) for kind in ("GPU", "CPU")
            )
            # A type of GPU is no resource that is used up: Ray counts the GPUs themselves.
            share = 0.001 if is_type else 1
            return {"num_cpus": cpu, "num_gpus": gpu, "resources": {name: share}}
    return None


def _types(nodes: Nodes, device: Device) -> list[str]:
    """Return Ray's names for a device: the first words of the GPU's name, such as A100."""
    gpu_names = [_words(name) for name in device.gpu_names]

    def matches(accelerator: str) -> bool:
        words = _words(accelerator.removeprefix(ACCELERATOR))
        return any(name[: len(words)] == words for name in gpu_names)

    names = {name for node in nodes for name in node if name.startswith(ACCELERATOR)}
    return sorted(filter(matches, names))


def _words(name: str) -> list[str]:
    """Return the words of a GPU's name in lower case, without its maker."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return [word for word in words if word not in MAKERS]


def _note_missing_devices(
    nodes: Nodes, cells: Sequence[Cell], missing: dict[str, float], timeout: float | None
) -> None:
    """Tell the user once which device no node has.

    Args:
        missing: the time since which each device has been missing; it is kept up to date.

    Raises:
        MachineError: a device has been missing for ``timeout`` seconds.
    """
    lacking = {
        cell.device.name if cell.device else "CPU" for cell in cells if demand(nodes, cell) is None
    }
    for name in [name for name in missing if name not in lacking]:
        del missing[name]
    for name in sorted(lacking):
        problem = f"none of {len(nodes)} nodes has {name}"
        hint = f"""start one there: ray start --address=HEAD:6379 --resources='{{"{name}": 1}}'"""
        now = time.monotonic()
        if name not in missing:
            present.note(f"waiting: {problem}; {hint}")
            missing[name] = now
        if timeout is not None and now - missing[name] > timeout:
            raise MachineError(f"{problem} after {timeout:g} s", hint)


def _message(
    put: parcel.Put, sent: dict[str, Parcel], work: Work, cell: Cell
) -> tuple[bytes, dict[str, Parcel], list[tuple[Artifact[object], Blocks]]]:
    """Return the arguments of ``_run_on_node``.

    Args:
        sent: files that were sent for other cells, which are not sent again; it is kept up to date.
    """
    content, files = parcel.pack((work, cell.arguments))
    digests = [parcel.digest_of(file) for file in files]
    for file, digest in zip(files, digests, strict=True):
        if digest not in sent:
            sent[digest] = parcel.send(file, put)
    known: list[tuple[Artifact[object], Blocks]] = []
    for artifact in cell.known:
        # An entry without a folder here is in the shared store, where the node finds it itself.
        if not artifact.folder.is_dir():
            continue
        if artifact.name not in sent:
            blocks = {
                name: [put(block) for block in parcel.blocks_of(path)]
                for name, path in artifact.files.items()
            }
            sent[artifact.name] = Parcel(artifact.name, "", blocks)
        known.append((artifact, sent[artifact.name].blocks))
    return content, {digest: sent[digest] for digest in digests}, known


def _run_on_node(
    version: str,
    number: int,
    force: bool,
    content: bytes,
    parcels: dict[str, Parcel],
    known: list[tuple[Artifact[object], Blocks]],
) -> tuple[CellResult, Carried]:
    """Run a cell on its node; return the result, and what the node made."""
    import ray

    if version != __version__:
        node = ray.util.get_node_ip_address()
        return CellResult(
            number,
            error=MachineError(
                f"node {node} has trtforge {__version__}, this is {version}",
                "install the same version on the node",
            ),
        ), []
    store = opened(force=force)
    try:
        for artifact, blocks in known:
            Store(store.root).adopt(artifact, partial(parcel.write, files=blocks, get=ray.get))
        work, arguments = parcel.unpack(
            content, lambda digest: parcel.receive(parcels[digest], ray.get, store)
        )
    except ForgeError as error:  # for example: the store can't be written
        return CellResult(number, error=error), []
    done = run_cell(number, work, arguments, store)
    caller_has = {artifact.name for artifact, _ in known}
    carried: Carried = []
    for artifact in done.made:
        files: dict[str, list[bytes]] = {}
        if artifact.name not in caller_has:
            files = {name: [path.read_bytes()] for name, path in artifact.files.items()}
        carried.append((artifact, files))
    return done, carried


def _receive(
    reference: ObjectRef[tuple[CellResult, Carried]], number: int, store: Store
) -> CellResult:
    """Return a node's result, and copy what it made into ``store``."""
    import ray

    try:
        done, carried = ray.get(reference)
    except ray.exceptions.RayTaskError:  # a bug in trtforge, with the traceback of the node
        raise
    except ray.exceptions.RayError as error:
        return CellResult(number, error=process_died(next(iter(str(error).splitlines()), "")))
    made = [
        store.adopt(artifact, partial(parcel.write, files=files, get=bytes))
        for artifact, files in carried
    ]
    return CellResult(number, done.value, done.error, made)
