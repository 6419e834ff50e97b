"""A small anchor-free detector: CSP backbone, SPPF, PAN neck, decoupled heads with
distribution-regressed boxes.

Written from the papers: CSPNet (Wang et al. 2019), SPP (He et al. 2014), PANet (Liu et al. 2018),
Generalized Focal
Loss (Li et al. 2020) for the box distributions, FCOS (Tian et al. 2019) for anchor points and side
distances.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = 640  # input height and width, pixels
STRIDES = (8, 16, 32)
ANCHORS = sum((SIZE // s) ** 2 for s in STRIDES)  # 8400
BINS = 16  # a side's distance is a distribution over 0..15 strides


class ConvUnit(nn.Module):
    """Convolution, BatchNorm, SiLU; after `fold_batchnorm` only convolution (with bias) and SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, c: int, add: bool):
        super().__init__()
        self.first, self.second, self.add = ConvUnit(c, c, 3), ConvUnit(c, c, 3), add

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.add else y


class CSPStage(nn.Module):
    """Half the channels go through `depth` residual units, half go around them (CSPNet)."""

    def __init__(self, c_in: int, c_out: int, depth: int, add: bool = True):
        super().__init__()
        half = c_out // 2
        self.through, self.around = ConvUnit(c_in, half), ConvUnit(c_in, half)
        self.units = nn.Sequential(*(Residual(half, add) for _ in range(depth)))
        self.fuse = ConvUnit(2 * half, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(torch.cat((self.units(self.through(x)), self.around(x)), 1))


class PoolPyramid(nn.Module):
    """Spatial pyramid pooling from three chained 5x5 max-pools, which see 5, 9 and 13 cells."""

    def __init__(self, c: int):
        super().__init__()
        self.reduce, self.pool, self.fuse = (
            ConvUnit(c, c // 2),
            nn.MaxPool2d(5, 1, 2),
            ConvUnit(2 * c, c),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        a = self.pool(x)
        b = self.pool(a)
        return self.fuse(torch.cat((x, a, b, self.pool(b)), 1))


class Head(nn.Module):
    """Box distributions (N, 4 * BINS, H, W) and class logits (N, C, H, W) of one scale, from
    separate branches.
    """

    def __init__(self, c: int, classes: int, width: int = 48):
        super().__init__()
        self.box = nn.Sequential(
            ConvUnit(c, width, 3), ConvUnit(width, width, 3), nn.Conv2d(width, 4 * BINS, 1)
        )
        self.score = nn.Sequential(
            ConvUnit(c, width, 3), ConvUnit(width, width, 3), nn.Conv2d(width, classes, 1)
        )
        # Few anchors hold an object, so training starts from a low score.
        nn.init.constant_(self.score[-1].bias, -5.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.box(x), self.score(x)), 1)


class Detector(nn.Module):
    """Images (N, 3, 640, 640), RGB in 0..1 -> raw head maps (N, 4 * BINS + C, 8400), finest scale
    first.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(
            ConvUnit(3, 16, 3, 2), ConvUnit(16, 32, 3, 2), CSPStage(32, 32, 1)
        )
        self.to8 = nn.Sequential(ConvUnit(32, 64, 3, 2), CSPStage(64, 64, 2))
        self.to16 = nn.Sequential(ConvUnit(64, 128, 3, 2), CSPStage(128, 128, 2))
        self.to32 = nn.Sequential(ConvUnit(128, 160, 3, 2), CSPStage(160, 160, 1), PoolPyramid(160))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.up16 = CSPStage(160 + 128, 128, 1, add=False)
        self.up8 = CSPStage(128 + 64, 64, 1, add=False)
        self.down16, self.pan16 = ConvUnit(64, 64, 3, 2), CSPStage(64 + 128, 128, 1, add=False)
        self.down32, self.pan32 = ConvUnit(128, 128, 3, 2), CSPStage(128 + 160, 160, 1, add=False)
        self.heads = nn.ModuleList(Head(c, classes) for c in (64, 128, 160))

    def forward(self, images: Tensor) -> Tensor:
        c8 = self.to8(self.stem(images))
        c16 = self.to16(c8)
        c32 = self.to32(c16)
        p16 = self.up16(torch.cat((self.up(c32), c16), 1))
        p8 = self.up8(torch.cat((self.up(p16), c8), 1))
        n16 = self.pan16(torch.cat((self.down16(p8), p16), 1))
        n32 = self.pan32(torch.cat((self.down32(n16), c32), 1))
        maps = [head(p) for head, p in zip(self.heads, (p8, n16, n32), strict=True)]
        # Sizes are written out, so that the exported graph holds no shape arithmetic.
        return torch.cat(
            [
                m.view(-1, 4 * BINS + self.classes, (SIZE // s) ** 2)
                for m, s in zip(maps, STRIDES, strict=True)
            ],
            2,
        )


def anchor_points(size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Cell centres (8400, 2) x, y in pixels and cell sizes (8400, 1) in pixels, in the order of the
    head maps.
    """
    points, strides = [], []
    for stride in STRIDES:
        centre = (torch.arange(size // stride) + 0.5) * stride
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        points.append(torch.stack((x.flatten(), y.flatten()), 1))
        strides.append(torch.full((x.numel(), 1), float(stride)))
    return torch.cat(points), torch.cat(strides)


class Decoded(nn.Module):
    """The exported form: images -> (N, 4 + C, 8400): cx, cy, w, h in input pixels and class scores
    in 0..1.
    """

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector
        # This convolution with weights 0..15 computes a mean over the bins.
        self.expectation = nn.Conv2d(BINS, 1, 1, bias=False)
        self.expectation.weight = nn.Parameter(
            torch.arange(BINS).float().view(1, BINS, 1, 1), requires_grad=False
        )
        points, strides = anchor_points()
        self.register_buffer("points", points.T[None].clone())
        self.register_buffer("strides", strides.T[None].clone())

    def forward(self, images: Tensor) -> Tensor:
        box, score = self.detector(images).split((4 * BINS, self.detector.classes), 1)
        bins = box.view(-1, 4, BINS, ANCHORS).transpose(1, 2).softmax(1)
        left_top, right_bottom = self.expectation(bins).view(-1, 4, ANCHORS).split((2, 2), 1)
        centre = self.points + (right_bottom - left_top) * 0.5 * self.strides
        return torch.cat((centre, (left_top + right_bottom) * self.strides, score.sigmoid()), 1)


@torch.no_grad()
def fold_batchnorm(model: nn.Module) -> None:
    """Merges every BatchNorm into its convolution, in place."""
    for unit in model.modules():
        if isinstance(unit, ConvUnit) and isinstance(unit.norm, nn.BatchNorm2d):
            norm = unit.norm
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            unit.conv.weight.mul_(gain.view(-1, 1, 1, 1))
            unit.conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
            unit.norm = nn.Identity()
