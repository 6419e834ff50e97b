"""The device catalogue: its entries, its loader, and finding out which device this machine is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]

from trtforge import devices
from trtforge.devices import Device, catalogue, device, precisions_of, this_machine
from trtforge.devices import file as device_file
from trtforge.devices.file import parse
from trtforge.errors import ForgeError

ASKED_FOR = """
    xavier-nx orin-nano orin-nx agx-orin thor t4 a2 a10 a30 a100 l4 l40s h100 h200 b200 gb10
    rtx-2080-ti rtx-3090 rtx-4090 rtx-5090 rtx-pro-6000
"""


def entry(changes: Mapping[str, object]) -> dict[str, object]:
    """A valid entry with some keys changed; a key given as ``...`` is left out."""
    text = resources.files("trtforge.devices").joinpath("devices.yaml").read_text("utf-8")
    made = yaml.safe_load(text)["t4"] | dict(changes)
    return {key: value for key, value in made.items() if value is not ...}


def load(changes: Mapping[str, object], name: str = "mine") -> Device:
    return parse(yaml.safe_dump({name: entry(changes)}), "mine.yaml")[name]


@pytest.fixture
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder without nvidia-smi on its PATH; programs written to the returned folder are on
    it.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", "/bin")
    return folder


def write_nvidia_smi(folder: Path, body: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    program.chmod(0o755)


def answer(*lines: str) -> str:
    """What nvidia-smi says of GPUs that are given as ``name, compute capability``."""
    query = [
        "--query-gpu=driver_version,memory.total,compute_cap,name",
        "--format=csv,noheader,nounits",
    ]
    rows = [", ".join(["595.58.03", "23034", *line.rpartition(", ")[::-2]]) for line in lines]
    return f"assert sys.argv[1:] == {query!r}, sys.argv\nprint({chr(10).join(rows)!r})"


def write_board(root: Path, model: str, *compatible: str) -> Path:
    """A device tree as the kernel shows it: texts that end in NUL."""
    tree = root / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(model.encode() + b"\0")
    if compatible:
        (tree / "compatible").write_bytes(b"".join(text.encode() + b"\0" for text in compatible))
    return root


# --------------------------------------------------------------------------------------------------------------
# entries


def test_every_device_asked_for_is_there() -> None:
    assert set(ASKED_FOR.split()) <= set(catalogue())
    assert catalogue() is catalogue()  # read once


@pytest.mark.parametrize("name", catalogue())
def test_entry_is_coherent(name: str) -> None:
    this = catalogue()[name]
    assert this.name == name
    assert this.precisions == precisions_of(this.sm)
    assert this.ci_label == f"gpu-{name}"
    assert (this.jetpack is not None) == (this.kind == "jetson")
    assert this.arch == ("aarch64" if this.kind == "jetson" or name == "gb10" else "x86_64")
    assert this.dla_cores in ((0, 2) if this.sm in (72, 87) else (0,))
    assert all(page.startswith(("https://", "http://")) for page in this.source)
    # Every chip here computes INT8 at twice the rate of FP16, so a sparse figure would fail.
    if this.int8_tops and this.fp16_tflops:
        assert this.int8_tops / this.fp16_tflops == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize(
    ("sm", "expected"),
    [
        (72, "fp32 fp16 int8"),
        (75, "fp32 fp16 int8"),
        (80, "fp32 fp16 bf16 int8"),
        (86, "fp32 fp16 bf16 int8"),
        (87, "fp32 fp16 bf16 int8"),
        (89, "fp32 fp16 bf16 int8 fp8"),
        (90, "fp32 fp16 bf16 int8 fp8"),
        (100, "fp32 fp16 bf16 int8 fp8 fp4"),
        (110, "fp32 fp16 bf16 int8 fp8 fp4"),
        (120, "fp32 fp16 bf16 int8 fp8 fp4"),
        (121, "fp32 fp16 bf16 int8 fp8 fp4"),
    ],
)
def test_precisions_of_a_compute_capability(sm: int, expected: str) -> None:
    assert precisions_of(sm) == tuple(expected.split())


def test_sm_and_what_rtx_serves() -> None:
    assert device("rtx-4090").sm == 89
    assert device("b200").sm == 100
    assert device("gb10").sm == 121
    served = {name for name, this in catalogue().items() if this.rtx_serves}
    assert {"t4", "a100", "a10", "l4", "rtx-5090", "gb10"} <= served
    assert not served & {
        "xavier-nx",
        "orin-nano",
        "orin-nx",
        "agx-orin",
        "thor",
        "h100",
        "h200",
        "b200",
    }


def test_versions_of_the_jetsons() -> None:
    def versions(name: str) -> tuple[str | None, ...]:
        this = device(name)
        return this.jetpack, this.tensorrt, this.deepstream

    assert versions("xavier-nx") == ("5.1", "8.5.2", "6.3")
    for name in ("orin-nano", "orin-nx", "agx-orin", "thor"):
        assert versions(name) == ("7.2", "10.16", "9.1")


def test_importing_devices_is_light() -> None:
    heavy = "yaml", "numpy", "pydantic", "onnx"
    code = (
        f"import sys, trtforge.devices; print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------------------------
# lookup


@pytest.mark.parametrize("name", ["rtx-4090", "RTX 4090", "rtx_4090", " Rtx-4090 "])
def test_names_are_normalised(name: str) -> None:
    assert device(name) is catalogue()["rtx-4090"]


@pytest.mark.parametrize(
    ("name", "near"), [("rtx4090", "rtx-4090"), ("orin", "orin-nx"), ("xavier", "xavier-nx")]
)
def test_unknown_device_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ForgeError) as caught:
        device(name)
    assert caught.value.code == 2
    assert repr(name) in caught.value.problem
    assert near in caught.value.hint


def test_unknown_device_unlike_any_lists_all() -> None:
    with pytest.raises(ForgeError) as caught:
        device("zzzzzz")
    assert all(name in caught.value.hint for name in catalogue())


# ---------------------------------------------------------------------------------------------------------------
# loader


def test_loader_wants_every_field_of_device() -> None:
    names = [field.name for field in fields(Device)][1:]
    assert list(device_file.Entry.model_fields) == ["like", *names]


def test_loader_takes_what_is_not_known() -> None:
    unknown = [
        "memory_gib",
        "bandwidth_gb_s",
        "int8_tops",
        "fp16_tflops",
        "tensorrt",
        "deepstream",
        "cuda",
        "jetpack",
    ]
    this = load(dict.fromkeys(unknown))
    assert [getattr(this, key) for key in unknown] == [None] * len(unknown)


def test_a_version_of_tensorrt_as_its_bindings_state_it() -> None:
    assert load({"tensorrt": "10.6.0.post1"}).tensorrt == "10.6.0.post1"
    with pytest.raises(ForgeError, match="cuda"):
        load({"cuda": "12.6.post1"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"memory_gib": ...}, "missing: memory_gib"),
        ({"memory": 16}, "unknown key 'mine.memory' (did you mean 'memory_gib'?)"),
        ({"kind": "laptop"}, "mine.kind: input should be 'jetson'"),
        ({"arch": "arm"}, "mine.arch: input should be 'x86_64' or 'aarch64'"),
        ({"compute_capability": 8.9}, "compute_capability: not text: write it in quotes"),
        ({"memory_gib": "16 GB"}, "memory_gib: not a positive number"),
        ({"int8_tops": -1}, "int8_tops: not a positive number"),
        ({"memory_gib": float("inf")}, "memory_gib: not a positive number"),
        ({"int8_tops": True}, "int8_tops: not a positive number"),
        ({"dla_cores": None}, "null is no value for dla_cores"),
        ({"precisions": ["fp32", "int4"]}, "mine.precisions.1: input should be"),
        ({"precisions": ["fp32", "fp32"]}, "mine.precisions: a value occurs twice"),
        ({"precisions": ["fp32", "fp8"]}, "SM75 has no fp8"),
        ({"tensorrt": 10.1}, "tensorrt: not text: write it in quotes"),
        ({"gpu_names": "Tesla T4"}, "mine.gpu_names: input should be"),
        ({"source": []}, "mine.source: "),
    ],
)
def test_loader_refuses(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ForgeError) as caught:
        load(changes)
    assert said in caught.value.problem
    assert caught.value.problem.startswith("mine.yaml:") and "mine" in caught.value.problem


def test_loader_names_all_faults_of_an_entry_at_once() -> None:
    with pytest.raises(ForgeError) as caught:
        load({"title": "", "colour": "green"})
    for said in ("unknown key 'mine.colour'", "mine.title: "):
        assert said in caught.value.problem
    with pytest.raises(ForgeError) as caught:
        load({"arch": ..., "kind": None}, name="My GPU")
    for said in ("the name is not", "missing: arch", "null is no value for kind"):
        assert said in caught.value.problem


def test_an_unknown_key_has_its_line_and_a_suggestion() -> None:
    text = 'mine:\n  like: orin-nx\n  jetpack: "6.1"\n  deepstrem: "7.1"\n'
    with pytest.raises(ForgeError) as caught:
        parse(text, "mine.yaml", catalogue())
    assert caught.value.problem == (
        "mine.yaml:4: unknown key 'mine.deepstrem' (did you mean 'deepstream'?)"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("", "no devices"),
        ("- a", "no devices"),
        ("a: 1", "mine.yaml:1: a: input should be"),
        ("a: {}", "mine.yaml:1: device a: missing: title"),
        ("a: 2024-13-45", "not YAML"),
        ("[" * 12000, "nested too deeply"),
        ("a: &a [x]\nb: *a", "has YAML aliases"),
    ],
)
def test_loader_refuses_what_is_no_catalogue(text: str, said: str) -> None:
    with pytest.raises(ForgeError, match=said):
        parse(text, "mine.yaml")


# ---------------------------------------------------------------------------------------------------------
# this machine


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("Tesla T4, 7.5", "t4"),
        ("NVIDIA A2, 8.6", "a2"),
        ("NVIDIA A10, 8.6", "a10"),
        ("NVIDIA A100-SXM4-80GB, 8.0", "a100"),
        ("NVIDIA A100 80GB PCIe, 8.0", "a100"),
        ("A100-SXM4-40GB, 8.0", "a100-40gb"),
        ("NVIDIA L4, 8.9", "l4"),
        ("NVIDIA L40S, 8.9", "l40s"),
        ("NVIDIA H100 80GB HBM3, 9.0", "h100"),
        ("NVIDIA H200, 9.0", "h200"),
        ("NVIDIA B200, 10.0", "b200"),
        ("NVIDIA GB10, 12.1", "gb10"),
        ("NVIDIA Thor, 11.0", "thor"),
        ("GeForce RTX 2080 Ti, 7.5", "rtx-2080-ti"),
        ("NVIDIA GeForce RTX 3090, 8.6", "rtx-3090"),
        ("NVIDIA GeForce RTX 4090, 8.9", "rtx-4090"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition, 12.0", "rtx-pro-6000"),
        ("NVIDIA H200, [N/A]", "h200"),  # the name is enough
    ],
)
def test_gpu_is_found_by_its_name(no_gpu: Path, tmp_path: Path, reported: str, name: str) -> None:
    write_nvidia_smi(no_gpu, answer(reported))
    assert this_machine(tmp_path) is catalogue()[name]


def test_no_two_entries_claim_one_name() -> None:
    patterns = [pattern.lower() for this in catalogue().values() for pattern in this.gpu_names]
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("reported", "name", "kind", "sm"),
    [
        ("NVIDIA GeForce RTX 3090 Ti, 8.6", "geforce-rtx-3090-ti", "geforce", 86),
        ("NVIDIA GeForce RTX 4090 Laptop GPU, 8.9", "geforce-rtx-4090-laptop-gpu", "geforce", 89),
        ("NVIDIA A10G, 8.6", "a10g", "datacenter", 86),
        ("NVIDIA L40, 8.9", "l40", "datacenter", 89),
        ("NVIDIA RTX 6000 Ada Generation, 8.9", "rtx-6000-ada-generation", "workstation", 89),
        (
            "Orin (nvgpu), 8.7",
            "orin-nvgpu",
            "jetson",
            87,
        ),  # a container on a Jetson sees no device tree
    ],
)
def test_gpu_that_the_catalogue_lacks(
    no_gpu: Path, tmp_path: Path, reported: str, name: str, kind: str, sm: int
) -> None:
    write_nvidia_smi(no_gpu, answer(reported))
    this = this_machine(tmp_path)
    assert this is not None
    assert name not in catalogue()
    assert (this.name, this.kind, this.sm) == (name, kind, sm)
    assert this.title == reported.rpartition(",")[0]
    assert this.precisions == precisions_of(sm)
    assert (this.int8_tops, this.tensorrt) == (None, None)
    assert this.memory_gib == pytest.approx(22.5, abs=0.01)


def test_first_of_several_gpus(no_gpu: Path, tmp_path: Path) -> None:
    write_nvidia_smi(no_gpu, answer("NVIDIA L4, 8.9", "Tesla T4, 7.5"))
    assert this_machine(tmp_path) is catalogue()["l4"]


@pytest.mark.parametrize(
    "body",
    [
        "print('No devices were found')",
        "print('540.4.0, [N/A], [N/A], Orin (nvgpu)')",
        "print()",
        "sys.stdout.buffer.write(b'\\xff\\xfe')",
        "sys.exit('NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver')",
    ],
)
def test_nvidia_smi_without_a_gpu(no_gpu: Path, tmp_path: Path, body: str) -> None:
    write_nvidia_smi(no_gpu, body)
    assert this_machine(tmp_path) is None


def test_nvidia_smi_that_hangs(
    no_gpu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "PATIENCE_S", 0.3)
    write_nvidia_smi(no_gpu, "time.sleep(60)")
    start = time.monotonic()
    assert this_machine(tmp_path) is None
    assert time.monotonic() - start < 10


def test_nvidia_smi_that_cannot_run(no_gpu: Path, tmp_path: Path) -> None:
    program = no_gpu / "nvidia-smi"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    assert this_machine(tmp_path) is None


def test_machine_without_a_gpu(no_gpu: Path, tmp_path: Path) -> None:
    assert os.listdir(no_gpu) == []
    assert this_machine(tmp_path) is None


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA Jetson Xavier NX Developer Kit", "xavier-nx"),
        ("NVIDIA Orin Nano Developer Kit", "orin-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "orin-nano"),
        ("NVIDIA Orin NX Developer Kit", "orin-nx"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "orin-nx"),
        ("Jetson AGX Orin", "agx-orin"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "thor"),
    ],
)
def test_jetson_is_found_by_its_model(no_gpu: Path, tmp_path: Path, model: str, name: str) -> None:
    assert this_machine(write_board(tmp_path, model)) is catalogue()[name]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nvidia,p3509-0000+p3668-0001", "xavier-nx"),
        ("nvidia,p3768-0000+p3767-0003", "orin-nano"),
        ("nvidia,p3768-0000+p3767-0005-super", "orin-nano"),
        ("nvidia,p3768-0000+p3767-0000", "orin-nx"),
        ("nvidia,p3737-0000+p3701-0005", "agx-orin"),
        ("nvidia,p4071-0000+p3834-0008", "thor"),
    ],
)
def test_jetson_on_a_foreign_board_is_found_by_its_module(
    no_gpu: Path, tmp_path: Path, module: str, name: str
) -> None:
    root = write_board(tmp_path, "Some Vendor Carrier", module, "nvidia,tegra234")
    assert this_machine(root) is catalogue()[name]


def test_jetson_board_is_believed_before_nvidia_smi(no_gpu: Path, tmp_path: Path) -> None:
    write_nvidia_smi(no_gpu, answer("Orin (nvgpu), 8.7"))
    assert (
        this_machine(write_board(tmp_path, "NVIDIA Jetson Orin NX Developer Kit"))
        is catalogue()["orin-nx"]
    )


def test_board_that_is_no_jetson(no_gpu: Path, tmp_path: Path) -> None:
    root = write_board(tmp_path, "Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b")
    assert this_machine(root) is None
    write_nvidia_smi(no_gpu, answer("NVIDIA L4, 8.9"))
    assert this_machine(root) is catalogue()["l4"]
