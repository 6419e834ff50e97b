"""Optimization profiles: the shapes that an engine takes, and the shape that it is fastest at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtforge.backends._config import need_implicit
from trtforge.backends.options import BuildOptions, Shape
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    import tensorrt

Shapes = tuple[Shape, Shape, Shape]


def add(
    trt: Any,
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    config: tensorrt.IBuilderConfig,
    options: BuildOptions,
    batch: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """Add the optimization profiles: the user's, else one made of ``batch`` and ``size``.

    Raises:
        ForgeError: a profile contradicts the graph.
    """
    inputs = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        inputs[tensor.name] = tuple(int(side) for side in tensor.shape)
    for given in options.profiles or ({},):
        shapes = shapes_of(inputs, given, batch, size)
        profile = builder.create_optimization_profile()
        for name, (least, best, most) in shapes.items():
            profile.set_shape(name, least, best, most)
        if shapes and config.add_optimization_profile(profile) < 0:
            raise ForgeError(
                f"the builder refuses the profile {_text(shapes)}",
                "check --profile, --batch and --size",
            )
        if shapes and options.implicit is not None:
            need_implicit(trt)
            config.set_calibration_profile(_calibration(builder, shapes, batch[0]))


def shapes_of(
    inputs: dict[str, Shape],
    given: dict[str, Shapes],
    batch: tuple[int, int, int],
    size: tuple[int, int],
) -> dict[str, Shapes]:
    """Return the smallest, best and largest shape of each dynamic input.

    Args:
        inputs: shapes of the network's inputs, -1 where they are dynamic.
        given: shapes of some inputs, from ``--profile``.
        batch: smallest, best and largest batch of the other inputs.
        size: height and width of the other inputs in pixels.

    Raises:
        ForgeError: ``given`` names an input that is not there, or changes a fixed dimension.
    """
    for name, shapes in given.items():
        _check(name, shapes, inputs)
    return {
        name: given.get(name) or _usual(shape, batch, size)
        for name, shape in inputs.items()
        if -1 in shape
    }


def _usual(shape: Shape, batch: tuple[int, int, int], size: tuple[int, int]) -> Shapes:
    rest = [
        known if known != -1 else wanted for known, wanted in zip(shape[2:], size, strict=False)
    ]
    least, best, most = (
        (count if shape[0] == -1 else shape[0], *shape[1:2], *rest) for count in batch
    )
    return least, best, most


def _check(name: str, shapes: Shapes, inputs: dict[str, Shape]) -> None:
    if name not in inputs:
        raise ForgeError(
            f"--profile: the model has no input {name!r}", f"its inputs: {', '.join(inputs)}"
        )
    fixed = inputs[name]
    for shape in shapes:
        fits = len(shape) == len(fixed) and all(
            want in (-1, side) for side, want in zip(shape, fixed, strict=True)
        )
        if not fits:
            wanted = "x".join("?" if side == -1 else str(side) for side in fixed)
            raise ForgeError(
                f"--profile: {name!r} is {wanted} in the graph, not {'x'.join(map(str, shape))}",
                "change only dimensions that are dynamic (?)",
            )


def _calibration(
    builder: tensorrt.Builder, shapes: dict[str, Shapes], batch: int
) -> tensorrt.IOptimizationProfile:
    profile = builder.create_optimization_profile()
    for name, (_, best, _) in shapes.items():
        shape = (batch, *best[1:])
        profile.set_shape(name, shape, shape, shape)
    return profile


def _text(shapes: dict[str, Shapes]) -> str:
    return ", ".join(
        f"{name}={':'.join('x'.join(map(str, shape)) for shape in each)}"
        for name, each in shapes.items()
    )
