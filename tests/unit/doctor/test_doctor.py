"""What the doctor says of machines that are laid out as root folders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from trtforge import doctor
from trtforge.devices import catalogue, device
from trtforge.devices.machine import probe
from trtforge.doctor.diagnosis import Diagnosis
from trtforge.errors import MachineError

from . import roots
from .roots import DIST, PIP, lay


def examined(root: Path, target: str | None = None) -> list[Diagnosis]:
    return doctor.examine(probe(root), device(target) if target else None)


def about(found: list[Diagnosis], *words: str) -> Diagnosis:
    """The finding whose subject is the first word and that says all the others."""
    fits = [
        each
        for each in found
        if each.about == words[0] and all(word in each.says for word in words[1:])
    ]
    assert len(fits) == 1, doctor.text(found)
    return fits[0]


def wrong(found: list[Diagnosis]) -> list[str]:
    return [each.about for each in found if each.state == "wrong"]


# ---------------------------------------------------------------------------------------------------------------
# Jetson


def test_jetson(tmp_path: Path) -> None:
    machine = probe(roots.jetson(tmp_path))
    assert machine.arch == "aarch64"
    assert (machine.l4t, machine.jetpack, machine.container) == ("39.2.0", "7.2", None)
    assert machine.device is catalogue()["orin-nx"]  # without nvidia-smi
    assert machine.deepstream and machine.deepstream.version == "9.1.0"  # behind an absolute link
    assert [(each.version, each.cuda) for each in machine.libraries] == [("10.16.2.10", "13.2")]
    assert [each.version for each in machine.toolkits] == ["13.2.1"]

    found = doctor.examine(machine)
    assert wrong(found) == []
    assert about(found, "build orin-nx").says == "with TensorRT 10.16.2.10, here"
    assert about(found, "jetpack").says == "JetPack 7.2, Jetson Linux 39.2.0"
    assert about(found, "driver").says == "version unknown, runs CUDA 13"
    assert [each for each in found if each.about == "tensorrt"] == [
        about(found, "tensorrt", "10.16.2.10", "13.2")
    ]
    doctor.gate(found)


def test_jetson_for_another_device(tmp_path: Path) -> None:
    root = roots.jetson(tmp_path)
    # The AGX Orin has the same compute capability.
    assert about(examined(root, "agx-orin"), "build agx-orin").state == "ok"
    thor = about(examined(root, "thor"), "build thor")
    assert thor.state == "wrong" and "SM110" in thor.says
    assert thor.fix == "trtforge prepare MODEL.onnx --device thor"


def test_jetson_without_tensorrt(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        roots.system(),
        {
            "proc/device-tree/model": roots.JETSON_NX,
            "usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1": "",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1",
        },
    )
    found = examined(root)
    assert about(found, "build orin-nx").fix == "sudo apt-get install -y nvidia-jetpack"
    assert about(found, "driver").says == "version unknown, runs CUDA 12"
    assert "39.2" in about(found, "jetpack", "36.4.3 is here").says


def test_bindings_out_of_sight_of_a_virtual_environment(tmp_path: Path) -> None:
    root = roots.jetson(tmp_path)
    shutil.rmtree(root / DIST / "tensorrt-10.16.2.10.dist-info")
    found = about(examined(root), "build orin-nx")
    assert found.state == "wrong" and "can't import" in found.says
    assert found.fix.startswith("python3 -m venv --system-site-packages")


def test_deepstream_container_on_a_jetson(tmp_path: Path) -> None:
    """The samples image has TensorRT without bindings, and Docker hides the device tree."""
    root = roots.jetson(lay(tmp_path, {".dockerenv": ""}), board=None)
    shutil.rmtree(root / DIST)
    found = examined(root)
    assert "hides which one" in about(found, "gpu").says
    assert (
        about(found, "tensorrt").fix
        == "apt-get install -y 'python3-libnvinfer=10.16.2.10-1+cuda13.2'"
    )
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text(roots.JETSON_NX)
    assert about(examined(root), "build orin-nx").fix == about(found, "tensorrt").fix


def test_jetson_container_without_its_runtime(tmp_path: Path) -> None:
    root = roots.jetson(lay(tmp_path, {".dockerenv": ""}))
    shutil.rmtree(root / "usr/lib/aarch64-linux-gnu/nvidia")
    found = about(examined(root), "driver")
    assert (found.state, found.fix) == ("wrong", "docker run --runtime nvidia ...")


def test_wheel_for_a_newer_cuda_than_jetson_linux_has(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        roots.system(),
        {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1"},
        CU13,
    )
    found = about(examined(root), "tensorrt")
    assert found.state == "wrong" and "Jetson Linux 36.4.3 runs CUDA 12" in found.says
    assert "JetPack" in found.fix


# -----------------------------------------------------------------------------------------------------------
# containers


def test_deepstream_container(tmp_path: Path) -> None:
    machine = probe(roots.container(tmp_path))
    assert (machine.arch, machine.container, machine.system) == ("x86_64", "docker", "ubuntu 24.04")
    assert machine.device is catalogue()["l4"]  # by the driver's own files
    assert machine.memory == 8 << 30  # the container's limit, not the host's 16 GB
    assert (machine.driver, machine.python) == ("595.58.03", "3.12")

    found = doctor.examine(machine)
    assert wrong(found) == []
    assert (
        about(found, "deepstream").says
        == "9.1.0 in /opt/nvidia/deepstream/deepstream, with TensorRT 10.16.1.11"
    )
    assert about(found, "build l4").says == "with TensorRT 10.16.1.11, here"
    assert about(found, "driver").says == "595.58.03, runs CUDA 13"


@pytest.mark.parametrize(
    ("sign", "name", "fix"),
    [
        ({".dockerenv": ""}, "docker", "docker run --gpus all"),
        ({"run/.containerenv": ""}, "podman", "docker run --gpus all"),
        (
            {".dockerenv": "", "run/secrets/kubernetes.io/token": ""},
            "kubernetes",
            "nvidia.com/gpu: 1",
        ),
        (
            {"proc/1/cgroup": "12:cpu:/kubepods/besteffort/pod1\n"},
            "kubernetes",
            "nvidia.com/gpu: 1",
        ),
        ({"proc/1/cgroup": "1:name=systemd:/docker/0123abc\n"}, "docker", "docker run --gpus all"),
    ],
)
def test_container_that_was_given_no_gpu(
    tmp_path: Path, sign: dict[str, str], name: str, fix: str
) -> None:
    root = lay(
        tmp_path,
        roots.system(),
        sign,
        roots.driver("595.58.03", libcuda=False),
        roots.python(PIP, onnxruntime="1.23.2"),
        roots.onnxruntime(PIP, "onnxruntime", "1.23.2"),
    )
    assert probe(root).container == name
    found = examined(root)
    assert fix in about(found, "gpu", "gave this container no GPU").fix
    assert wrong(found) == []  # the processor is enough for what was asked


def test_container_without_the_drivers_libraries(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        roots.system(),
        {".dockerenv": ""},
        roots.driver("595.58.03", "NVIDIA L4", libcuda=False),
    )
    found = about(examined(root), "driver")
    assert found.state == "wrong" and "libcuda.so.1 is missing" in found.says
    assert "NVIDIA_DRIVER_CAPABILITIES=compute" in found.fix


def test_container_with_an_h100(tmp_path: Path) -> None:
    """Files as a real one has them: the open kernel module, libraries mounted beside the usual
    folders, cuda-compat.
    """
    root = lay(
        tmp_path,
        roots.system(131_981_020),
        {
            ".dockerenv": "",
            "proc/1/cgroup": "0::/process_api/core\n",
            "dev/nvidia0": "",
            "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release "
            "Build  (nixbld@)  \nGCC version:  gcc version 15.3.0 (GCC) \n",
            "proc/driver/nvidia/gpus/0000:00:06.0/information": "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 41\n",
            "etc/ld.so.conf.d/000_cuda.conf": "/usr/local/cuda/targets/x86_64-linux/lib\n",
            "etc/ld.so.conf.d/988_cuda-13.conf": "/usr/local/cuda-13.0/compat\n/opt/driver/lib64\n",
            "usr/local/cuda-13.0/compat/libcuda.so.580.95.05": "",
            "usr/local/cuda-13.0/compat/libcuda.so.1": "",
            "usr/local/cuda": "->/etc/alternatives/cuda",
            "opt/driver/lib64/libcuda.so.1": "",
        },
    )
    machine = probe(root)
    assert machine.device is catalogue()["h100"]
    assert (machine.driver, machine.compat) == ("580.159.04", "580.95.05")
    assert machine.libcuda == "/opt/driver/lib64/libcuda.so.1"
    assert about(examined(root), "driver", "580.159.04, runs CUDA 13").state == "ok"
    shutil.rmtree(root / "opt/driver")
    # cuda-compat is not a driver.
    assert about(examined(root), "driver", "libcuda.so.1 is missing").state == "wrong"


def test_links_of_another_root_lead_to_nothing_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Version: 6.6.6\n")
    root = lay(
        tmp_path / "root",
        {
            "opt/nvidia/deepstream/deepstream/version": f"->{secret}",
            "etc/nv_tegra_release": "->../../secret",
        },
    )
    machine = probe(root)
    assert (machine.deepstream, machine.l4t) == (None, None)


def test_no_program_of_another_root_is_run(tmp_path: Path) -> None:
    root = roots.desktop(tmp_path / "root", "595.58.03")
    program = root / "usr/bin/nvidia-smi"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    assert probe(root).driver == "595.58.03"
    assert not (tmp_path / "ran").exists()


def test_empty_root(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert wrong(found) == ["onnxruntime"]
    with pytest.raises(MachineError) as caught:
        doctor.gate(found)
    assert caught.value.code == 3 and "onnxruntime" in caught.value.problem


# --------------------------------------------------------------------------------------------------------------
# drivers


CU13 = roots.python(
    PIP,
    tensorrt="10.16.1.11",
    tensorrt_cu13="10.16.1.11",
    tensorrt_cu13_libs="10.16.1.11",
    tensorrt_cu13_bindings="10.16.1.11",
)


def test_driver_too_old_for_the_cuda_of_the_wheel(tmp_path: Path) -> None:
    found = examined(lay(roots.desktop(tmp_path, "535.183.01"), CU13))
    tensorrt = about(found, "tensorrt")
    assert tensorrt.state == "wrong"
    assert "CUDA 13, which needs driver 580 or newer; this is 535.183.01 (CUDA 12)" in tensorrt.says
    assert tensorrt.fix.startswith("pip uninstall -y ") and "tensorrt-cu13-libs" in tensorrt.fix
    assert tensorrt.fix.endswith("pip install 'tensorrt-cu12==10.16.1.11'")
    assert about(found, "build rtx-4090").state == "wrong"


@pytest.mark.parametrize(
    ("version", "served"), [("580.65.06", 13), ("575.57.08", 12), ("525.60", 12), ("470.223", 11)]
)
def test_cuda_that_a_driver_runs(tmp_path: Path, version: str, served: int) -> None:
    found = examined(lay(roots.desktop(tmp_path, version), CU13))
    assert about(found, "driver", version, f"runs CUDA {served}").state == "ok"
    assert about(found, "tensorrt", "CUDA 13").state == ("ok" if served == 13 else "wrong")
    if served == 11:  # there is no such wheel
        assert (
            about(found, "tensorrt").fix
            == "sudo apt-get install -y nvidia-driver-580 && sudo reboot"
        )


@pytest.mark.parametrize(
    ("gpu", "state"), [("NVIDIA L4", "ok"), ("NVIDIA GeForce RTX 4090", "wrong")]
)
def test_cuda_compat_helps_data_centre_gpus_alone(tmp_path: Path, gpu: str, state: str) -> None:
    compat = {"usr/local/cuda-13.2/compat/libcuda.so.595.58.03": "", ".dockerenv": ""}
    found = examined(lay(roots.desktop(tmp_path, "535.183.01", gpu), CU13, compat))
    assert about(found, "tensorrt", "CUDA 13").state == state
    assert about(found, "driver", "535.183.01, runs CUDA", "cuda-compat 595.58.03")


def test_torch_and_rtx_for_a_newer_cuda_are_notes(tmp_path: Path) -> None:
    packages = roots.python(
        PIP, torch="2.13.0", tensorrt_rtx="1.7.1.116", tensorrt_rtx_cu13="1.7.1.116"
    )
    torch = {
        f"{PIP}/torch/version.py": "from typing import Optional\ncuda: Optional[str] = '13.0'\nhip = None\n"
    }
    found = examined(lay(roots.desktop(tmp_path, "535.183.01"), packages, torch))
    for name in ("torch", "tensorrt-rtx"):
        assert about(found, name, "needs driver 580").state == "note"
        assert about(found, name).fix == "sudo apt-get install -y nvidia-driver-580 && sudo reboot"
    assert wrong(found) == []
    assert about(found, "build rtx-4090").says == "with TensorRT-RTX 1.7.1.116, which needs no GPU"


# -------------------------------------------------------------------------------------------------
# packages in each way


def test_two_tensorrts_beside_deepstream(tmp_path: Path) -> None:
    """pip's shadows the system's, which DeepStream loads."""
    newer = roots.python(
        PIP, tensorrt="11.1.0.106", tensorrt_cu13="11.1.0.106", tensorrt_cu13_libs="11.1.0.106"
    )
    found = about(examined(lay(roots.container(tmp_path), newer)), "tensorrt", "2 of them")
    assert found.state == "wrong"
    assert "Python builds with 11.1.0.106, DeepStream loads 10.16.1.11" in found.says
    assert found.fix == "pip uninstall -y tensorrt tensorrt-cu13 tensorrt-cu13-libs"


def test_two_tensorrts_of_which_the_systems_has_no_bindings(tmp_path: Path) -> None:
    root = roots.container(tmp_path)
    shutil.rmtree(root / DIST)
    newer = roots.python(
        PIP, tensorrt="11.1.0.106", tensorrt_cu13="11.1.0.106", tensorrt_cu13_libs="11.1.0.106"
    )
    assert (
        about(examined(lay(root, newer)), "tensorrt", "2 of them").fix
        == "pip install 'tensorrt-cu13==10.16.1.11'"
    )


def test_two_tensorrts_without_deepstream(tmp_path: Path) -> None:
    found = examined(
        lay(roots.desktop(tmp_path, "595.58.03"), CU13, roots.libnvinfer("x86_64", "10.3.0"))
    )
    two = about(found, "tensorrt", "2 of them", "10.3.0", "10.16.1.11", "Python takes 10.16.1.11")
    assert two.state == "note"
    assert about(found, "build rtx-4090").state == "ok"


def test_one_tensorrt_in_two_places_is_one(tmp_path: Path) -> None:
    found = examined(
        lay(roots.desktop(tmp_path, "595.58.03"), CU13, roots.libnvinfer("x86_64", "10.16.1"))
    )
    assert [each.state for each in found if each.about == "tensorrt"] == ["ok"]


def test_libraries_of_bindings_that_end_in_post1(tmp_path: Path) -> None:
    """The wheel 10.6.0.post1 binds libnvinfer 10.6.0, wherever the loader finds it."""
    found = examined(
        lay(
            roots.desktop(tmp_path, "595.58.03"),
            roots.python(PIP, tensorrt="10.6.0.post1"),
            {"etc/ld.so.conf": "/srv/nvidia/lib\n", "srv/nvidia/lib/libnvinfer.so.10.6.0": ""},
        )
    )
    assert about(found, "tensorrt", "10.6.0.post1 in").state == "ok"
    assert about(found, "build rtx-4090").state == "ok"


def test_a_library_whose_name_is_short(tmp_path: Path) -> None:
    """Of another machine's disk it is not asked for its version: its major one has to do."""
    root = lay(
        roots.desktop(tmp_path, "595.58.03"),
        roots.python(PIP, tensorrt="10.6.0.post1"),
        {"usr/local/lib/libnvinfer.so.10": ""},
    )
    assert about(examined(root), "tensorrt", "10.6.0.post1 in").state == "ok"
    (root / "usr/local/lib/libnvinfer.so.10").rename(root / "usr/local/lib/libnvinfer.so.8")
    assert about(examined(root), "tensorrt", "without libnvinfer").state == "wrong"


def test_this_machines_library_tells_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the loader's path, under a short name, as in containers and archives."""
    source = tmp_path / "infer.c"
    source.write_text("int getInferLibVersion(void) { return 100600; }\n")
    library = tmp_path / "libnvinfer.so.10"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    (tmp_path / "libnvinfer.so.9").write_text("no library\n")
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}")
    found = {each.where: each.version for each in probe().libraries}
    assert found[str(library)] == "10.6.0"
    assert found[str(tmp_path / "libnvinfer.so.9")] == "9"


def test_bindings_without_libraries(tmp_path: Path) -> None:
    found = examined(
        lay(roots.desktop(tmp_path, "595.58.03"), roots.python(PIP, tensorrt="10.16.1.11"))
    )
    assert about(found, "tensorrt", "without libnvinfer").state == "wrong"
    assert about(found, "build rtx-4090").state == "wrong"


GPU = roots.python(PIP, onnxruntime_gpu="1.23.2")


@pytest.mark.parametrize(
    ("owner", "there", "gpu", "state", "fix"),
    [
        (
            "onnxruntime",
            "1.23.2",
            True,
            "wrong",
            "'onnxruntime-gpu==1.23.2'",
        ),  # the processor's files won
        (
            "onnxruntime",
            "1.23.2",
            False,
            "note",
            "'onnxruntime-gpu==1.23.2'",
        ),  # which is enough here
        ("onnxruntime-gpu", "1.23.2", True, "note", ""),
        (
            "onnxruntime",
            "1.22.0",
            False,
            "wrong",
            "'onnxruntime-gpu==1.23.2'",
        ),  # files of two versions
    ],
)
def test_onnxruntimes_that_overwrite_each_other(
    tmp_path: Path, owner: str, there: str, gpu: bool, state: str, fix: str
) -> None:
    # Libraries of onnxruntime-gpu stay when onnxruntime is installed over it.
    providers = ("cuda", "tensorrt")
    root = lay(
        tmp_path,
        roots.system(),
        roots.python(PIP, onnxruntime=there),
        GPU,
        roots.driver("595.58.03", "NVIDIA L4") if gpu else {},
        roots.onnxruntime(PIP, owner, there, *providers),
    )
    found = about(examined(root), "onnxruntime", "overwrite each other's files", f"are {owner}'s")
    assert found.state == state
    assert found.fix == (f"pip install --force-reinstall --no-deps {fix}" if fix else "")
    assert ("cuda" in found.says.split(";")[0]) == owner.endswith("gpu")


def test_onnxruntime_whose_files_went_with_the_other(tmp_path: Path) -> None:
    root = lay(tmp_path, roots.system(), GPU, {f"{PIP}/onnxruntime/capi/left.txt": ""})
    found = about(examined(root), "onnxruntime", "gone or damaged")
    assert found.state == "wrong" and found.fix.endswith("'onnxruntime-gpu==1.23.2'")
    shutil.rmtree(root / PIP / "onnxruntime")
    assert about(examined(root), "onnxruntime", "gone or damaged").state == "wrong"


def test_onnxruntime_for_a_newer_cuda_than_the_driver_runs(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        roots.system(),
        roots.driver("535.183.01", "NVIDIA L4"),
        GPU,
        roots.onnxruntime(PIP, "onnxruntime-gpu", "1.23.2", "cuda", cuda="13.0"),
    )
    assert (
        "needs driver 580" in about(examined(root), "onnxruntime", "computes on the processor").says
    )


def test_deepstream_without_tensorrt(tmp_path: Path) -> None:
    found = examined(lay(roots.desktop(tmp_path, "595.58.03"), roots.deepstream("9.1.0")))
    assert about(found, "deepstream", "without TensorRT").state == "wrong"


def test_halves_that_an_interrupted_pip_leaves_are_passed_over(tmp_path: Path) -> None:
    root = lay(
        roots.desktop(tmp_path, "595.58.03"),
        {
            f"{PIP}/torch-2.13.0.dist-info/RECORD": "",
            f"{PIP}/numpy-2.dist-info/METADATA": "Name: numpy\n",
        },
    )
    assert [each.name for each in probe(root).packages] == ["onnxruntime"]


# -------------------------------------------------------------------------------------------------------------
# a target


def test_device_that_needs_only_tensorrt_rtx(tmp_path: Path) -> None:
    root = roots.desktop(tmp_path, "595.58.03")
    assert about(examined(root, "l4"), "build l4").fix == "pip install 'trtforge[rtx]'"
    lay(root, roots.python(PIP, tensorrt_rtx="1.7.1.116", tensorrt_rtx_cu13="1.7.1.116"))
    assert about(examined(root, "l4"), "build l4").state == "ok"
    old = about(examined(root, "xavier-nx"), "build xavier-nx", "ends at TensorRT 8.5.2")
    assert (old.state, old.fix) == ("wrong", "trtforge prepare MODEL.onnx --device xavier-nx")


def test_what_does_not_go_with_the_device_is_a_note(tmp_path: Path) -> None:
    root = lay(
        roots.desktop(tmp_path, "580.65.06", "NVIDIA L4"),
        roots.deepstream("7.1.0"),
        roots.libnvinfer("x86_64", "10.3.0"),
        {f"{DIST}/tensorrt/__init__.py": ""},
        roots.python(DIST, tensorrt="10.3.0"),
    )
    found = examined(root)
    assert about(found, "build l4").state == "ok"
    assert about(found, "deepstream", "written for 9.1").fix.endswith("--deepstream 7.1")
    assert (
        about(found, "tensorrt", "DeepStream 9.1 loads engines of TensorRT 10.16").state == "note"
    )
    assert about(found, "driver", "wants 595.58.03").fix.startswith(
        "sudo apt-get install -y nvidia-driver-595"
    )
    assert about(found, "pycuda").fix == "pip install 'trtforge[tensorrt]'"


@pytest.mark.parametrize("name", [None, *catalogue()])
def test_the_doctor_says_what_the_build_does(name: str | None) -> None:
    """On the very machine that the tests run on."""
    from trtforge.pipeline import targets as select

    target = device(name) if name else None
    try:
        select.target("auto", target)
        buildable = True
    except MachineError:
        buildable = False
    builds = [each for each in doctor.examine(probe(), target) if each.about.startswith("build")]
    assert [each.state == "ok" for each in builds] == [buildable], doctor.text(builds)
