"""A cluster of three nodes with made-up devices, each with a store of its own, and the command line
beside it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import DEMO, ROOT

from tests.extras import needs

needs("ray")
needs("rtx")

MEMORY = 80_000_000  # Ray's least, for the objects of a node
PATIENCE_S = 180


@dataclass
class Fleet:
    """The cluster: nodes and their stores by name."""

    cluster: Any
    address: str
    folder: Path
    nodes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, device: str) -> None:
        self.nodes[name] = self.cluster.add_node(
            num_cpus=1,
            object_store_memory=MEMORY,
            resources={device: 1},
            env_vars={"TRTFORGE_STORE": str(self.store(name)), "PYTHONPATH": str(ROOT)},
        )

    def store(self, name: str) -> Path:
        return self.folder / name

    def kill(self, name: str) -> None:
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # the head forks: see trtforge.cluster.ray_nodes
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": MEMORY,
            "include_dashboard": False,
            "ray_client_server_port": port,
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
        },
    )
    made = Fleet(cluster, f"ray://127.0.0.1:{port}", tmp_path_factory.mktemp("nodes"))
    for name in ("one", "two", "three"):
        made.add(name, "rtx-4090")
    yield made
    cluster.shutdown()


def began(fleet: Fleet, store: Path, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trtforge", *map(str, words), "--on", fleet.address],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TRTFORGE_STORE": str(store), "PYTHONPATH": str(ROOT)},
    )


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    return out


def entries(store: Path, stage: str) -> list[Path]:
    return [path.parent for path in (store / stage).glob("*/artifact.json")]


def until(true: Any) -> Any:
    limit = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    return found


def test_calibration_in_shards_gives_the_same_bytes(fleet, trtforge, photos, tmp_path):
    assert trtforge("fold", DEMO, "-o", tmp_path / "clean.onnx").code == 0
    words = ("calibrate", tmp_path / "clean.onnx", "--calib", photos)
    assert trtforge(*words, "-o", tmp_path / "one.json").code == 0
    ended(began(fleet, tmp_path / "store", *words, "-o", tmp_path / "many.json"))
    assert (tmp_path / "many.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    shards = [len(entries(fleet.store(name), "observe")) for name in fleet.nodes]
    assert sum(shards) == 3 and len(entries(tmp_path / "store", "observe")) == 3
    # The model and the folder of images came to each node that took a shard, once.
    assert [len(entries(fleet.store(name), "received")) for name in fleet.nodes] == [
        2 * (each > 0) for each in shards
    ]


def test_a_device_that_nobody_has(fleet, trtforge, tmp_path):
    run = trtforge(
        "build",
        DEMO,
        "--device",
        "l4",
        "--on",
        fleet.address,
        "--timeout",
        "1s",
        "-o",
        tmp_path / "o",
    )
    assert (
        run.code == 3
        and "none of 4 nodes has l4 after 1 s" in run.err
        and "Traceback" not in run.err
    )
    assert not (tmp_path / "o").exists()


def test_a_cell_waits_for_a_node_with_its_device(fleet, tmp_path):
    waiting = began(
        fleet,
        tmp_path / "store",
        "build",
        DEMO,
        "--device",
        "rtx-3090",
        "-o",
        tmp_path / "o",
        "--json",
    )
    assert waiting.stderr and "waiting: none of 4 nodes has rtx-3090" in waiting.stderr.readline()
    fleet.add("late", "rtx-3090")
    document = json.loads(ended(waiting))
    fleet.kill("late")
    (engine,) = entries(fleet.store("late"), "build-tensorrt-rtx")
    assert document["outputs"][0]["engine"]["sm"] == 86
    assert (tmp_path / "o" / "demo.rtx.engine").read_bytes() == (engine / "engine").read_bytes()
    assert [each["cached"] for each in document["stages"]][-1] is False


def test_a_node_dies_in_a_sweep_of_24_and_nothing_is_lost(fleet, trtforge, tmp_path):
    # Of batch 1: the builder's own engines for a range of batches differ in some bytes from build
    # to build.
    sizes = ",".join(["1MiB", *(f"{64 + 16 * step}MiB" for step in range(11))])
    words = (
        "sweep",
        DEMO,
        "--precision",
        "fp32,fp16",
        "--workspace",
        sizes,
        "--device",
        "rtx-4090",
        "--json",
    )
    sweep = began(fleet, tmp_path / "store", *words, "-o", tmp_path / "many")
    until(
        lambda: (
            sweep.poll() is not None or len(entries(tmp_path / "store", "build-tensorrt-rtx")) >= 8
        )
    )
    name = until(
        lambda: next(
            (name for name in fleet.nodes if list(fleet.store(name).glob(".trtforge-*"))), None
        )
    )
    fleet.kill(name)  # while it builds
    many = json.loads(ended(sweep))
    one = trtforge(*words, "-o", tmp_path / "one")
    assert one.code == 0, one.err
    figures = (
        "number",
        "cell",
        "why_not",
        "digest",
        "same_as",
        "engine_bytes",
        "scratch_bytes",
        "front",
    )
    built = sum(bool(row["digest"]) for row in one.document["rows"])
    assert len(many["rows"]) == 24 and built == 22
    assert [[row[each] for each in figures] for row in many["rows"]] == [
        [row[each] for each in figures] for row in one.document["rows"]
    ]
    assert len(entries(tmp_path / "store", "build-tensorrt-rtx")) == built

    again = json.loads(ended(began(fleet, tmp_path / "store", *words, "-o", tmp_path / "again")))
    assert [row["cached"] for row in again["rows"]] == [bool(row["digest"]) for row in many["rows"]]


def test_options_that_contradict(fleet, trtforge, tmp_path):
    for words, problem in [
        (("--on", fleet.address), "a cluster has many GPUs"),
        (
            ("--on", fleet.address, "--device", "rtx-4090", "--dry-run"),
            "--dry-run can't use a cluster",
        ),
        (("--on", "ray://nowhere"), "--on ray://nowhere: not known"),
        (("--timeout", "1s"), "--timeout has no effect without a cluster"),
    ]:
        run = trtforge("build", DEMO, "-o", tmp_path / "o", *words)
        assert run.code == 2 and problem in run.err and "Traceback" not in run.err
