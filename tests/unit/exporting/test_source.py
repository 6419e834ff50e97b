"""Where models come from, and what a file may not do."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.extras import needs

torch = needs("torch")

from tests.torch_models import Wide  # noqa: E402
from trtforge.errors import ForgeError  # noqa: E402
from trtforge.exporting.source import importable, load  # noqa: E402

TESTS = Path(__file__).parents[2]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TESTS)
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.delitem(sys.modules, "torch_models", raising=False)


def test_folder_is_importable_for_a_while_and_the_path_is_as_it_was_afterwards(tmp_path):
    before = list(sys.path)
    (tmp_path / "mine.py").write_text("from torch.nn import Identity as model\n")
    with importable(str(tmp_path)):
        assert not load("mine:model", {}, None, trusted=False).module.training
    assert sys.path == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "kwargs", "text"),
    [
        ("torch_models:Nothing", {}, "torch_models has no Nothing"),
        ("torch_model:Wide", {}, "no Python module torch_model"),
        ("json.nowhere:Wide", {}, "no Python module json.nowhere"),
        (
            "torch_models:broken",
            {},
            r"RuntimeError: no such luck \(torch_models\.py:\d+: raise RuntimeError",
        ),
        ("torch_models:Wide", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("torch_models:number", {}, "returns int, not a torch.nn.Module"),
        ("torch_models:ready", {"depth": 3}, "takes no arguments"),
        ("torch_models", {}, "neither a file nor package.module:callable"),
        ("no/such/file.pt2", {}, "no/such/file.pt2: no such file"),
    ],
)
def test_what_python_can_not_give(name, kwargs, text):
    with pytest.raises(ForgeError, match=text):
        load(name, kwargs, None, trusted=False)


def test_module_that_fails_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "sick.py").write_text("import no_such_module\n")
    (tmp_path / "ill.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(
        ForgeError, match=r"sick needs the Python module no_such_module \(sick\.py:1: import"
    ):
        load("sick:x", {}, None, trusted=False)
    with pytest.raises(
        ForgeError, match=r"ZeroDivisionError: division by zero \(ill\.py:2: y = x / 0\)"
    ):
        load("ill:y", {}, None, trusted=False)


def scripted(path: Path, module: torch.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), path)
    return path


class Writer(torch.nn.Module):
    """TorchScript can write files; this one would write ``written`` into the current folder."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.save(images, "written")
        return images


def test_torchscript_that_names_an_operator_that_writes_files_is_refused(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "trtforge")
    monkeypatch.chdir(tmp_path)
    path = scripted(tmp_path / "writer.ts", Writer())
    with pytest.raises(ForgeError, match="uses save, which can write any file") as caught:
        load(path, {}, None, trusted=False)
    assert "--trust-pickle" in caught.value.hint
    load(path, {}, None, trusted=True).module(torch.zeros(1))
    assert (tmp_path / "written").exists()  # what the flag allows
    assert "warning" in caplog.text


def test_torchscript_loads_by_its_contents_whatever_it_is_called(tmp_path):
    path = scripted(tmp_path / "model.bin", Wide().double())
    source = load(path, {}, None, trusted=False)
    assert next(source.module.parameters()).dtype == torch.float32
    with pytest.raises(ForgeError, match="arguments and weights already"):
        load(path, {"a": 1}, None, trusted=False)


class Payload:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_exported_program_has_to_be_trusted_because_torch_unpickles_what_is_in_it(tmp_path):
    import zipfile

    torch.export.save(
        torch.export.export(Wide(), (torch.rand(2, 3, 32, 32),)), tmp_path / "good.pt2"
    )
    torch.save(Payload(tmp_path / "ran"), tmp_path / "payload")
    with (
        zipfile.ZipFile(tmp_path / "good.pt2") as good,
        zipfile.ZipFile(tmp_path / "evil.pt2", "w") as evil,
    ):
        for name in good.namelist():
            content = good.read(name)
            evil.writestr(
                name, (tmp_path / "payload").read_bytes() if "sample_inputs" in name else content
            )
    with pytest.raises(ForgeError, match="can run any code"):
        load(tmp_path / "evil.pt2", {}, None, trusted=False)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ForgeError, match="torch can't load it"):  # the reason for the rule, seen
        load(tmp_path / "evil.pt2", {}, None, trusted=True)
    assert (tmp_path / "ran").exists()
    source = load(tmp_path / "good.pt2", {}, None, trusted=True)
    assert source.program is not None


def test_files_that_hold_no_model(tmp_path):
    torch.save(Wide().state_dict(), tmp_path / "weights.pt")
    (tmp_path / "text.ts").write_text("hello")
    with pytest.raises(ForgeError, match="contains weights, but no model") as caught:
        load(tmp_path / "weights.pt", {}, None, trusted=False)
    assert "--weights" in caught.value.hint
    with pytest.raises(ForgeError, match=r"neither TorchScript nor a \.pt2 file"):
        load(tmp_path / "text.ts", {}, None, trusted=False)


def test_damaged_archive(tmp_path):
    path = scripted(tmp_path / "model.ts", Wide())
    content = path.read_bytes()
    at = content.index(b"data.pkl") + 60
    path.write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
    with pytest.raises(ForgeError, match=r"model\.ts: torch can't load it"):
        load(path, {}, None, trusted=False)


def test_help_imports_no_torch():
    code = (
        "import sys; import trtforge.cli, trtforge.stages.export; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
