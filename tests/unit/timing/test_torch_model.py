"""PyTorch on the CPU, timed for real."""

from __future__ import annotations

import numpy as np
import pytest

from trtforge.errors import ForgeError
from trtforge.timing import torch_model
from trtforge.timing.measure import measure

torch = pytest.importorskip("torch", reason="needs PyTorch")
HOW = {"cuda": False, "compiled": False, "graph": False, "transfers": False}


@pytest.mark.parametrize("half", [False, True])
def test_eager_in_both_precisions(half: bool) -> None:
    seen: list[torch.dtype] = []

    class Watched(torch.nn.Conv2d):
        def forward(self, images):
            seen.append(images.dtype)
            assert not torch.is_grad_enabled()
            return super().forward(images)

    module = Watched(3, 4, 3).eval()
    timed = measure(
        torch_model.opener(module, np.zeros((2, 3, 8, 8), np.float32), half=half, **HOW),
        2,
        1,
        0.001,
        0.001,
    )
    assert timed.clock == torch_model.CPU_CLOCK and timed.images_per_second > 0
    assert set(seen) == {torch.float16 if half else torch.float32}
    assert module.weight.dtype == torch.float32  # the user's own stays as it is


def test_a_module_that_fails_is_refused() -> None:
    with pytest.raises(ForgeError, match=r"fails on torch\.float32 images of 1x4x8x8"):
        measure(
            torch_model.opener(
                torch.nn.Conv2d(3, 4, 3), np.zeros((1, 4, 8, 8), np.float32), half=False, **HOW
            ),
            1,
            1,
            0.001,
            0.001,
        )
