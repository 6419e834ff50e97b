"""Cells over processes, what is asked of a cluster for a device, and files on their way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trtforge.calibration.images import folder_digest, image_digests, list_images
from trtforge.cluster import RETRIES, Cell, open_workers, parcel
from trtforge.cluster.ray_nodes import demand
from trtforge.devices import catalogue
from trtforge.errors import BuildError, ForgeError, MachineError
from trtforge.store import NOTHING, File, Nothing, Stage, Store, source


@dataclass(frozen=True)
class Text:
    text: File


@dataclass(frozen=True)
class Process:
    pid: int = 0


def twice(draft: Path, inputs: Text, options: Nothing) -> Process:
    (draft / "out.txt").write_text(inputs.text.path.read_text() * 2)
    return Process(os.getpid())


STAGE = Stage("twice", 1, (), twice, Process)


def work(arguments: tuple[str, Path], store: Store) -> int:
    """What a cell says: double its text, fail, or die until there is a file."""
    what, path = arguments
    if what == "refuse":
        raise BuildError("no such tactic", "")
    if what == "die" or (what == "die once" and not path.with_suffix(".tried").exists()):
        with path.with_suffix(".tried").open("a") as tried:
            tried.write("x")
        os._exit(9)
    return store.run(STAGE, Text(source(path)), NOTHING).facts.pid


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


def test_in_this_process(text: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    with open_workers("local", store) as staff:
        done = list(
            staff.run(work, [Cell(("run", text)), Cell(("refuse", text)), Cell(("run", text))])
        )
    assert [each.value for each in done] == [os.getpid(), None, os.getpid()]
    assert [each.made for each in done] == [[store.ran[0]], [], [store.ran[1]]]
    with pytest.raises(BuildError, match="no such tactic"):
        done[1].result()


def test_a_process_that_dies_loses_only_its_cell(text: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    words = ["run", "die once", "die", "refuse", "run"]
    for word in words:
        (tmp_path / f"{word}.txt").write_text(word)
    with open_workers("local:2", store) as staff:
        done = sorted(
            staff.run(work, [Cell((word, tmp_path / f"{word}.txt")) for word in words]),
            key=lambda each: each.number,
        )
    assert isinstance(done[2].error, BuildError) and "died 3 times" in done[2].error.problem
    assert (tmp_path / "die.tried").read_text() == "x" * (RETRIES + 1)
    assert [bool(each.error) for each in done] == [False, False, True, True, False]
    assert os.getpid() not in [each.value for each in done]
    assert len(list((tmp_path / "s" / "twice").iterdir())) == 2 and len(store.ran) == 3


@pytest.mark.parametrize(
    "on", ["", "local:0", "local:x", "rays://x:1", "ray://", "ray://host", "ray://host/x:1"]
)
def test_places_that_are_none(on: str, tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="--on"), open_workers(on, Store(tmp_path)):
        pass


def has(**more: float) -> dict[str, float]:
    return {
        "CPU": 4,
        **{name.replace("__", ":").replace("_", "-"): value for name, value in more.items()},
    }


def asked(device: str | None, *nodes: dict[str, float], alone: bool = False) -> Any:
    return demand(nodes, Cell(None, catalogue()[device] if device else None, alone))


def test_a_resource_of_the_devices_name() -> None:
    named = {"num_cpus": 1, "num_gpus": 0, "resources": {"orin-nx": 1}}
    assert asked("orin-nx", has(), has(orin_nx=1)) == named
    assert asked("orin-nx", has(), has(orin_nx=1, GPU=1)) == named | {"num_gpus": 1}
    assert asked("orin-nx", {"orin-nx": 1}) == named | {"num_cpus": 0}
    assert asked("orin-nx", has(agx_orin=1)) is None and asked("orin-nx") is None


def test_a_type_that_ray_recognised() -> None:
    def typed(name: str, **more: float) -> dict[str, float]:
        return {"CPU": 4, "GPU": 1, f"accelerator_type:{name}": 1, **more}

    assert asked("a100", typed("A100")) == {
        "num_cpus": 1,
        "num_gpus": 1,
        "resources": {"accelerator_type:A100": 0.001},
    }
    for device, name in [
        ("rtx-4090", "GeForce-RTX-4090"),
        ("t4", "T4"),
        ("h100", "H100"),
        ("l40s", "L40S"),
        ("rtx-pro-6000", "RTX-PRO-6000"),
    ]:
        assert asked(device, typed(name)), device
    for device, name in [
        ("l4", "L40S"),
        ("a10", "A100"),
        ("rtx-4090", "G"),
        ("rtx-4090", "GeForce-RTX-4090-Laptop"),
        ("rtx-4090", "GeForce-RTX-3090"),
    ]:
        assert asked(device, typed(name)) is None, device
    assert asked("t4", typed("T4", GPU=0)) is None
    # Resources that the user has named take precedence.
    assert asked("t4", typed("T4"), has(t4=1))["resources"] == {"t4": 1}


def test_what_is_timed_on_a_processor_has_the_node_to_itself() -> None:
    assert asked(None, has(), {"CPU": 16}) == {"num_cpus": 1}
    assert asked(None, has(), {"CPU": 16}, alone=True) == {"num_cpus": 16}
    assert asked(None, {"CPU": 0}) is None


def test_files_stay_outside_the_pickle_and_arrive_once(text: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "a.jpg").write_bytes(b"x" * 10)
    (tmp_path / "photos" / "notes.txt").write_text("stays here")
    folder = File(
        tmp_path / "photos",
        folder_digest(image_digests(list_images(tmp_path / "photos"), tmp_path / "photos")),
    )
    content, files = parcel.pack({"one": source(text), "more": (folder, source(text))})
    assert files == [source(text), folder, source(text)] and b"in.txt" not in content
    parcels = {file.digest: parcel.send(file, bytes) for file in files}
    node, gets = Store(tmp_path / "node"), []

    def get(block: bytes) -> bytes:
        gets.append(block)
        return block

    for _ in range(2):
        there = parcel.unpack(content, lambda digest: parcel.receive(parcels[digest], get, node))
    assert there["one"].path.read_text() == "abc" and there["one"].path != text
    assert there["more"][0].digest == folder.digest
    assert [
        path.name
        for path in there["more"][0].path.rglob("*")
        if path.is_file() and path.name != "artifact.json"
    ] == ["a.jpg"]
    assert gets == [b"abc", b"x" * 10] and node.ran == []


def test_what_arrives_is_what_its_digest_says(text: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("weights")
    both, store = source(text, tmp_path / "data"), Store(tmp_path / "node")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    sent = [
        parcel.send(source(text), bytes),
        parcel.send(File(tmp_path / "photos", "0" * 64), bytes),
    ]
    sent[0].blocks["in.txt"] = [b"abd"]
    for each in sent:
        with pytest.raises(MachineError, match="arrived damaged"):
            parcel.receive(each, bytes, store)
    assert not list((tmp_path / "node").glob("received/*"))
    blocks = {"in.txt": [b"abc"], "data": [b"weights"]}
    there = parcel.receive(
        parcel.Parcel(str(both.digest), "in.txt", blocks, ("data",)), bytes, store
    )
    assert there == File(there.path, both.digest) and [
        path.read_text() for path in there.beside
    ] == ["weights"]


def test_a_path_that_leaves_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="escaped"):
        parcel.write(tmp_path / "in", {"../escaped": [b""]}, bytes)
