"""Trains the demo detector on one GPU, in legs that can be resumed.

    python recipes/demo/train.py --out runs/demo --leg-minutes 7.5 --compile
    python recipes/demo/train.py --out runs/demo --leg-minutes 7.5 --compile --leg 1 \\
        --resume runs/demo

The first line trains the first leg, the second line the next one.

Progress is measured in seconds of training, out of --total-minutes: the learning rate and the share
of mosaics depend on it, so a faster GPU sees more scenes instead of finishing early. Each leg
renders its own training scenes. A checkpoint is three files (weights and moments each small enough
to move about), all read with weights_only=True.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import torch
from augment import draw_batch, render_pool
from evaluate import evaluate
from loss import detection_loss
from model import Decoded, Detector, anchor_points
from scenes import NAMES, render, write
from torch import Tensor, nn

PEAK_RATE, LAST_RATE, WARM_UP_SECONDS, DECAY, EMA_DECAY = 2e-3, 0.02, 20.0, 0.05, 0.9995
# The share of mosaics, and the share of the training after which there are none.
MOSAIC, PLAIN_FROM = (0.5, 0.75)


def learning_rate(seconds: float, total: float) -> float:
    """Linear warm-up, then a half cosine down to a fiftieth."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, seconds / total))
    return (
        PEAK_RATE
        * (LAST_RATE + (1 - LAST_RATE) * cosine)
        * min(1.0, (seconds + 1) / WARM_UP_SECONDS)
    )


def make_optimizer(model: nn.Module, fused: bool) -> torch.optim.AdamW:
    """AdamW; only convolution weights decay, BatchNorm scales and biases do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        PEAK_RATE,
        fused=fused,
    )


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, steps: int) -> None:
    decay = EMA_DECAY * (1 - math.exp(-steps / 1000))  # follow quickly at the start
    floats = [
        (a, b)
        for a, b in zip(ema.state_dict().values(), model.state_dict().values(), strict=True)
        if a.is_floating_point()
    ]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)


def save(
    folder: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, progress: dict
) -> None:
    """Three files under 8 MB each; the moments keep bfloat16 precision, which Adam does not notice."""
    moments = optimizer.state_dict()
    moments["state"] = {
        k: {n: v.bfloat16() if v.ndim else v for n, v in s.items()}
        for k, s in moments["state"].items()
    }
    for name, content in {
        "weights": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": moments | progress,
    }.items():
        torch.save(content, folder / f"{name}.tmp")
        os.replace(folder / f"{name}.tmp", folder / f"{name}.pt")


def load(folder: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    ema.load_state_dict(torch.load(folder / "ema.pt", weights_only=True))
    moments = torch.load(folder / "optimizer.pt", weights_only=True)
    # This casts the moments back to float32.
    optimizer.load_state_dict({k: moments[k] for k in ("state", "param_groups")})
    return {k: moments[k] for k in ("seconds", "steps", "images")}


def tuning_map(ema: Detector, folder: Path, device: torch.device) -> tuple[float, float]:
    decoded = Decoded(ema).to(device).eval()

    @torch.no_grad()
    def predict(images: np.ndarray) -> np.ndarray:
        return decoded(torch.from_numpy(images).to(device)).cpu().numpy()

    return evaluate(predict, folder)


def pack(boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the labels to the front and drops slots empty in every image; a multiple of 8 keeps
    shapes few.
    """
    most = max(8, -(-int((classes >= 0).sum(1).max()) // 8) * 8)
    order = (classes < 0).long().argsort(dim=1, stable=True)[:, :most]
    return boxes.gather(1, order[..., None].expand(-1, -1, 4)), classes.gather(1, order)


def train_leg(
    args: argparse.Namespace,
    pool: tuple[Tensor, Tensor, Tensor],
    tuning: Path,
    log: Callable[[str], None],
) -> None:
    """Trains for `args.leg_minutes`, evaluates on the tuning scenes now and then, and saves each
    time it does.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    pool = (pool[0].to(device), pool[1].to(device), pool[2].to(device))
    model = Detector(len(NAMES)).to(device, memory_format=torch.channels_last)
    ema = copy.deepcopy(model).eval()
    optimizer = make_optimizer(model, fused=cuda)
    progress = (
        load(args.resume, model, ema, optimizer)
        if args.resume
        else {"seconds": 0.0, "steps": 0, "images": 0}
    )
    forward = torch.compile(model) if args.compile else model
    points, strides = (t.to(device) for t in anchor_points())

    total, base, begin = args.total_minutes * 60, progress["seconds"], time.time()
    stop = min(total, base + args.leg_minutes * 60)
    sums, steps, evaluated = torch.zeros(3, device=device), 0, begin
    while progress["seconds"] < stop:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress["seconds"], total)
        mosaic = MOSAIC if progress["seconds"] < PLAIN_FROM * total else 0.0
        images, boxes, classes = draw_batch(pool, args.batch, mosaic)
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            raw = forward(images.contiguous(memory_format=torch.channels_last))
        losses = detection_loss(raw, points, strides, *pack(boxes, classes))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        progress["steps"] += 1
        progress["images"] += args.batch
        update_ema(ema, model, progress["steps"])
        sums += torch.stack([v.detach() for v in losses.values()])
        steps += 1
        progress["seconds"] = base + time.time() - begin
        last = progress["seconds"] >= stop
        if steps * args.batch < args.pool and not last:
            continue
        scores = ","  # an epoch ends: as many images as the pool has scenes
        if last or time.time() - evaluated > args.evaluate_seconds:
            scores = "{:.4f},{:.4f}".format(*tuning_map(ema, tuning, device))
            save(args.out, model, ema, optimizer, progress)
            evaluated = time.time()
        epoch, seconds = progress["images"] / args.pool, progress["seconds"]
        means = ",".join(f"{v:.4f}" for v in (sums / steps).tolist())
        rate = learning_rate(seconds, total)
        log(
            f"{args.leg},{epoch:.2f},{seconds:.0f},{progress['images']},{rate:.6f},{means},{scores}"
        )
        sums.zero_()
        steps = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="folder with the checkpoint of the leg before")
    parser.add_argument(
        "--leg", type=int, default=0, help="number of this leg: picks its scenes and its seed"
    )
    parser.add_argument("--leg-minutes", type=float, default=7.5)
    parser.add_argument("--total-minutes", type=float, default=15)
    parser.add_argument(
        "--pool", type=int, default=18000, help="training scenes rendered for this leg"
    )
    parser.add_argument(
        "--tuning", type=int, default=120, help="scenes of the tuning split to evaluate on"
    )
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: 40 s slower to start, 40 % faster"
    )
    parser.add_argument("--evaluate-seconds", type=float, default=110)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    previous = (args.resume / "train.csv").read_text() if args.resume else ""
    first, seed, started = args.leg * 1_000_000, 1000 + args.leg, time.time()
    with (
        tempfile.TemporaryDirectory() as scratch,
        (args.out / "train.csv").open("w", buffering=1) as file,
    ):

        def log(line: str) -> None:
            print(line, flush=True)
            file.write(line + "\n")

        file.write(previous)
        pool = render_pool(first, args.pool, args.workers)  # forks: before CUDA starts
        write("tuning", render("tuning", args.tuning, args.workers), Path(scratch))
        torch.manual_seed(seed)
        log(
            f"# leg {args.leg}: {torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()}, "
            f"torch {torch.__version__}, numpy {np.__version__}, pillow {PIL.__version__}, seed {seed}, "
            f"scenes {first}..{first + args.pool - 1}, batch {args.batch}, rendered in {time.time() - started:.0f} s, "
            f"{args.leg_minutes} of {args.total_minutes} minutes, compile {args.compile}"
        )
        if not previous:
            log(
                "leg,epoch,seconds,images,rate,score_loss,box_loss,bins_loss,tuning_map50_95,tuning_map50"
            )
        train_leg(args, pool, Path(scratch), log)


if __name__ == "__main__":
    main()
