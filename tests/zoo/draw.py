"""Weights that are drawn, but behave: sane activations, scores that differ, some above the threshold.

No registry has pretrained weights. A fresh network's activations shrink or grow from layer to layer and its scores are
all alike, so boxes would be decided by rounding. Here batch normalization takes its statistics from photographs, and
the last layers are scaled by what they put out for the image that the comparison is made on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SCENES = Path(__file__).parents[2] / "recipes/demo/validation"
SEED = 19


def photo(size: tuple[int, int], index: int = 0) -> Image.Image:
    """Return a picture of a size (height, width), so that no library has to resize or pad it."""
    file = sorted(SCENES.glob("*.jpg"))[index]
    return Image.open(file).convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)


def batch(size: tuple[int, int], count: int = 4) -> Tensor:
    """Return pictures as a tensor (count, 3, height, width) between 0 and 1; the first is ``photo(size)``."""
    frames = [np.asarray(photo(size, index), np.float32) / 255 for index in range(count)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def settle(net: nn.Module, forward: Callable[[], object]) -> None:
    """Give batch normalization the statistics of one forward pass."""
    was_training = net.training
    net.eval()
    norms = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        forward()
    for norm in norms:
        norm.momentum = 0.1
    net.train(was_training)


def outputs(layers: Sequence[nn.Module], forward: Callable[[], object]) -> list[Tensor]:
    """Return (places, channels) of what layers put out in a forward pass for the first picture, all their calls."""
    seen: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}

    def note(layer: nn.Module, _: object, out: Tensor) -> None:
        first = out.detach()[0] if out.ndim > 2 else out.detach()
        images = first.flatten(1).T if isinstance(layer, nn.Conv2d) else first
        seen[layer].append(images.reshape(-1, images.shape[-1]))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()
    return [torch.cat(seen[layer]) for layer in layers]


def layers_of(net: nn.Module, channels: Iterable[int]) -> list[nn.Module]:
    """Return convolutions and linear layers with a bias that put out so many channels."""
    wanted = set(channels)
    return [
        each
        for each in net.modules()
        if (isinstance(each, nn.Conv2d) and each.out_channels in wanted)
        or (isinstance(each, nn.Linear) and each.out_features in wanted)
        if each.bias is not None
    ]


def spread(
    layers: Iterable[nn.Module],
    forward: Callable[[], object],
    deviation: float,
    mean: float = 0.0,
    best: int | None = None,
    score: float = 0.25,
) -> None:
    """Scale and shift last layers so that each channel, over all of them, has a deviation and a mean.

    With ``best``, the mean is such that this many values lie above the logit of ``score``. Layers are convolutions or
    linear ones.
    """
    chosen = list(layers)
    each = outputs(chosen, forward)
    values = torch.cat(each)
    factor = deviation / (values.std(0) + 1e-6)
    centre = values.mean(0)
    if best is not None:
        ranked = ((values - centre) * factor).flatten()
        threshold = ranked.topk(min(best, len(ranked))).values[-1].item()
        mean = math.log(score / (1 - score)) - threshold
    with torch.no_grad():
        for layer in chosen:
            layer.weight *= factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
            if layer.bias is None:
                raise ValueError("a last layer without bias can't be shifted")
            layer.bias.copy_((layer.bias - centre) * factor + mean)
