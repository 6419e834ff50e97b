"""Small PyTorch models to export: `trtforge export torch_models:NAME`, run from this folder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDES, BINS, CLASSES = (8, 16, 32), 8, 3


def unit(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU()
    )


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            unit(c_in, c_out, stride), nn.Conv2d(c_out, c_out, 3, 1, 1), nn.BatchNorm2d(c_out)
        )
        self.skip = nn.Conv2d(c_in, c_out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.skip(x)).relu()


class Classifier(nn.Module):
    """A residual network; it says what it does on stdout, as many models do."""

    def __init__(self, classes: int):
        super().__init__()
        print("building a classifier")
        self.features = nn.Sequential(
            unit(3, 8, 2), Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1)
        )
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.features(images).mean((2, 3))))


class Detector(nn.Module):
    """Three scales, boxes as distributions, scores: (N, 4 + C, anchors) in input pixels, and the
    maps behind them.

    It keeps its grid from one call to the next, as many detectors do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, 8, 2), unit(8, 8, 2))
        self.stages = nn.ModuleList(unit(8, 8, 2) for _ in STRIDES)
        self.box = nn.ModuleList(nn.Conv2d(8, 4 * BINS, 1) for _ in STRIDES)
        self.score = nn.ModuleList(nn.Conv2d(8, CLASSES, 1) for _ in STRIDES)
        self.register_buffer("bins", torch.arange(BINS).float().view(1, BINS, 1, 1))
        self.size, self.points, self.scale = None, torch.empty(0), torch.empty(0)

    def grid(self, images: Tensor) -> None:
        if self.size == images.shape[2:]:
            return
        self.size = images.shape[2:]
        points, scale = [], []
        for stride in STRIDES:
            y, x = (((torch.arange(side // stride) + 0.5) * stride) for side in self.size)
            y, x = torch.meshgrid(y, x, indexing="ij")
            points.append(torch.stack((x.flatten(), y.flatten())))
            scale.append(torch.full((1, x.numel()), float(stride)))
        self.points, self.scale = torch.cat(points, 1), torch.cat(scale, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.grid(images)
        x, maps = self.stem(images), []
        for stage, box, score in zip(self.stages, self.box, self.score, strict=True):
            x = stage(x)
            maps.append(torch.cat((box(x), score(x)), 1))
        rows = torch.cat([each.flatten(2) for each in maps], 2)
        sides, scores = rows.split((4 * BINS, CLASSES), 1)
        sides = (sides.unflatten(1, (4, BINS)).transpose(1, 2).softmax(1) * self.bins).sum(1)
        low, high = self.points - sides[:, :2] * self.scale, self.points + sides[:, 2:] * self.scale
        return torch.cat(((low + high) / 2, high - low, scores.sigmoid()), 1), maps


class Guarded(nn.Module):
    """Looks at its input in Python: torch.export refuses, the tracer takes the branch for constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        if images.max() > 1000:
            raise ValueError("the images are no images")
        return self.conv(images)


class Bessel(nn.Module):
    """An operator that no ONNX has."""

    def __init__(self, guarded: bool = False) -> None:
        super().__init__()
        self.first = Guarded() if guarded else nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        return torch.special.bessel_j0(x)


class Branching(nn.Module):
    """Goes one way for the zeros of a trace, and another for images."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 if images.sum() > 0 else images


class Named(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor | list[Tensor] | None]:
        return {
            "mask": images.argmax(1),
            "images": images * 2,
            "aux": [images.mean((2, 3))],
            "loss": None,
        }


class Wide(nn.Module):
    """Averages what it sees: any size goes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))


def broken() -> nn.Module:
    raise RuntimeError("no such luck")


def number() -> int:
    return 3


def fixed() -> nn.Module:
    """Takes images of 64x64 and no others."""
    return nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.Flatten(), nn.Linear(128, 2))


ready = Wide()
