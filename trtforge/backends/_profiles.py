"""Add optimization profiles: the input shapes that an engine accepts, and which is fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtforge.backends._config import need_implicit
from trtforge.backends.options import BuildOptions, Shape
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    import tensorrt

Shapes = tuple[Shape, Shape, Shape]  # smallest, best (TensorRT's "opt"), largest


def add(
    trt: Any,
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    config: tensorrt.IBuilderConfig,
    options: BuildOptions,
    batch: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """Add the user's optimization profiles, or one made of ``batch`` and ``size``.

    Raises:
        ForgeError: a profile contradicts the graph.
    """
    inputs = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        inputs[tensor.name] = tuple(int(side) for side in tensor.shape)
    for user_shapes in options.profiles or ({},):
        shapes = shapes_of(inputs, user_shapes, batch, size)
        profile = builder.create_optimization_profile()
        for name, (smallest, best, largest) in shapes.items():
            profile.set_shape(name, smallest, best, largest)
        if shapes and config.add_optimization_profile(profile) < 0:
            raise ForgeError(
                f"the builder refuses the profile {_describe(shapes)}",
                "check --profile, --batch and --size",
            )
        if shapes and options.implicit is not None:
            need_implicit(trt)
            config.set_calibration_profile(_calibration_profile(builder, shapes, batch[0]))


def shapes_of(
    inputs: dict[str, Shape],
    user_shapes: dict[str, Shapes],
    batch: tuple[int, int, int],
    size: tuple[int, int],
) -> dict[str, Shapes]:
    """Return the smallest, best and largest shape of each dynamic input.

    Args:
        inputs: shapes of the network's inputs, -1 where they are dynamic.
        user_shapes: shapes of some inputs, from ``--profile``.
        batch: smallest, best and largest batch of the other inputs.
        size: height and width of the other inputs in pixels.

    Raises:
        ForgeError: ``user_shapes`` names an unknown input, or changes a fixed dimension.
    """
    for name, shapes in user_shapes.items():
        _check(name, shapes, inputs)
    return {
        name: user_shapes.get(name) or _default_shapes(shape, batch, size)
        for name, shape in inputs.items()
        if -1 in shape
    }


def _default_shapes(shape: Shape, batch: tuple[int, int, int], size: tuple[int, int]) -> Shapes:
    """Fill the batch and the height and width of an input (N, C, H, W) where they are dynamic."""
    # Not strict: an input may have fewer than four dimensions.
    height_width = [
        default if side == -1 else side for side, default in zip(shape[2:], size, strict=False)
    ]
    smallest, best, largest = (
        (count if shape[0] == -1 else shape[0], *shape[1:2], *height_width) for count in batch
    )
    return smallest, best, largest


def _check(name: str, shapes: Shapes, inputs: dict[str, Shape]) -> None:
    if name not in inputs:
        raise ForgeError(
            f"--profile: the model has no input {name!r}", f"its inputs: {', '.join(inputs)}"
        )
    graph_shape = inputs[name]
    for shape in shapes:
        fits = len(shape) == len(graph_shape) and all(
            graph_side in (-1, side) for side, graph_side in zip(shape, graph_shape, strict=True)
        )
        if not fits:
            expected = "x".join("?" if side == -1 else str(side) for side in graph_shape)
            raise ForgeError(
                f"--profile: {name!r} is {expected} in the graph, not {'x'.join(map(str, shape))}",
                "change only dimensions that are dynamic (?)",
            )


def _calibration_profile(
    builder: tensorrt.Builder, shapes: dict[str, Shapes], batch: int
) -> tensorrt.IOptimizationProfile:
    """Return a profile of one shape per input, because calibration runs at a fixed shape."""
    profile = builder.create_optimization_profile()
    for name, (_, best, _) in shapes.items():
        shape = (batch, *best[1:])
        profile.set_shape(name, shape, shape, shape)
    return profile


def _describe(shapes: dict[str, Shapes]) -> str:
    """Return the shapes in the form of ``--profile``, such as ``images=1x3x64x64:...``."""
    texts = []
    for name, three_shapes in shapes.items():
        sizes = ["x".join(map(str, shape)) for shape in three_shapes]
        texts.append(f"{name}={':'.join(sizes)}")
    return ", ".join(texts)
