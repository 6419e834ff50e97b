"""Checkpoints: found, fitted, and never trusted by themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.extras import needs

torch = needs("torch")

from tests.torch_models import Wide  # noqa: E402
from trtforge.errors import ForgeError  # noqa: E402
from trtforge.exporting.weights import load_into  # noqa: E402


class Payload:
    """Unpickled, it makes a file: proof that code of the checkpoint's choice has run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return Wide().state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state().items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (state, "2 tensors of"),
        (lambda: {"state_dict": state(), "epoch": 3}, "under 'state_dict'"),
        (lambda: {"model": prefixed("module."), "optimizer": {"lr": 0.1}}, "under 'model'"),
        (
            lambda: {"model": Wide().state_dict(), "ema": {"module": state()}},
            "under 'ema'.'module'",
        ),
        (lambda: {"model": state(), "ema": None}, "under 'model'"),
        (
            lambda: {"state_dict": prefixed("module._orig_mod.")},
            "without the prefix 'module._orig_mod.'",
        ),
        (lambda: {key: value.half() for key, value in state().items()}, "2 tensors of"),
    ],
)
def test_weights_are_found_wherever_training_scripts_keep_them(tmp_path, content, said):
    torch.save(content(), tmp_path / "c.pt")
    model = Wide()
    assert said in load_into(model, tmp_path / "c.pt", trusted=False)
    expected = state()["conv.weight"]
    assert torch.allclose(model.conv.weight, expected, atol=1e-3)
    assert model.conv.weight.dtype == torch.float32


def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    torch.save({"model": state(), "extra": Payload(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(
        ForgeError, match=r"evil\.pt: contains more than tensors \(\w*\.?mkdir\)"
    ) as caught:
        load_into(Wide(), tmp_path / "evil.pt", trusted=False)
    assert "--trust-pickle" in caught.value.hint
    assert not (tmp_path / "ran").exists()


def test_pickle_of_a_whole_model_is_read_when_it_is_trusted_and_the_warning_says_what_that_means(
    tmp_path, caplog
):
    caplog.set_level("INFO", "trtforge")
    model = Wide()
    model.load_state_dict(state())
    torch.save({"model": model, "extra": Payload(tmp_path / "ran")}, tmp_path / "own.pt")
    with pytest.raises(ForgeError, match="contains more than tensors"):
        load_into(Wide(), tmp_path / "own.pt", trusted=False)
    fresh = Wide()
    load_into(fresh, tmp_path / "own.pt", trusted=True)
    assert (tmp_path / "ran").exists()  # what the flag allows
    assert torch.equal(fresh.conv.weight, state()["conv.weight"])
    assert "can run any code" in caplog.text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("conv.bias"), "it lacks conv.bias"),
        (lambda s: s.update({"head.weight": torch.zeros(1)}), "the model lacks head.weight"),
        (
            lambda s: s.update({"conv.weight": torch.zeros(5, 3, 3, 3)}),
            r"shapes differ: conv\.weight \(5, 3, 3, 3\), not \(4, 3, 3, 3\)",
        ),
        (
            lambda s: s.update({f"extra.{i}": torch.zeros(1) for i in range(9)}),
            "extra.0, extra.1, extra.2 and 6 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, text):
    content = dict(state())
    change(content)
    torch.save(content, tmp_path / "c.pt")
    model = Wide()
    before = model.conv.weight.clone()
    with pytest.raises(ForgeError, match=text):
        load_into(model, tmp_path / "c.pt", trusted=False)
    assert torch.equal(model.conv.weight, before)


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x80\x02}q\x00."])
def test_files_that_are_no_checkpoint(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ForgeError, match="not a checkpoint"):
        load_into(Wide(), tmp_path / "c.pt", trusted=False)


def test_checkpoint_cut_short(tmp_path):
    torch.save(state(), tmp_path / "c.pt")
    (tmp_path / "c.pt").write_bytes((tmp_path / "c.pt").read_bytes()[:-300])
    with pytest.raises(ForgeError, match="cut short"):
        load_into(Wide(), tmp_path / "c.pt", trusted=False)


def test_checkpoint_without_weights_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "c.pt")
    with pytest.raises(ForgeError, match="contains no weights, but: epoch, best"):
        load_into(Wide(), tmp_path / "c.pt", trusted=False)
