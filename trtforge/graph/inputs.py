"""Find the image among a model's inputs, and the sizes that it has or takes."""

from __future__ import annotations

import onnx

from trtforge.errors import ForgeError


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not initializers."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initializers]


def images(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are batches of colour images."""
    return [
        value
        for value in inputs(model)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and len(dims(value)) == 4
        and dims(value)[1] == 3
    ]


def only_image(model: onnx.ModelProto) -> onnx.ValueInfoProto | None:
    """Return the input of a model whose only input is a batch of colour images; else None."""
    found = images(model)
    return found[0] if found and len(inputs(model)) == 1 else None


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the one input that is not an initializer: float32 of shape (N, 3, H, W).

    Raises:
        ForgeError: the model has several inputs, or the one it has is not a batch of colour images.
    """
    values = inputs(model)
    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise ForgeError(
            f"the model has {len(values)} inputs ({names}); one image input is served",
            "export it with a single image input",
        )
    image = values[0]
    if len(image.type.tensor_type.shape.dim) != 4:
        raise ForgeError(
            f"input {image.name!r} is not a batch of images (N, C, H, W)",
            "export the model with an NCHW image input",
        )
    if image.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(image.type.tensor_type.elem_type)
        raise ForgeError(f"input {image.name!r} is {found}, not FLOAT", "export the model in FP32")
    if dims(image)[1] != 3:
        raise ForgeError(
            f"input {image.name!r} has shape {dims(image)}, not (N, 3, H, W)",
            "export the model with a colour image input in NCHW order",
        )
    return image


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return numbers for fixed dimensions and names for dynamic ones ('?' for an unnamed one)."""
    return [
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]


def fix_inputs(
    model: onnx.ModelProto,
    size: tuple[int, int] | None,
    default: tuple[int, int] | None,
    batch: int | None,
) -> None:
    """Give the image input the size and batch that are asked for, in place; see ``fold``."""
    found = images(model)
    if len(found) != 1 and not (size or batch):
        return
    image = found[0] if len(found) == 1 else image_input(model)
    _fix_size(image, size, default)
    first = image.type.tensor_type.shape.dim[0]
    if first.dim_value <= 0 and not first.dim_param:
        first.dim_param = "batch"
    if batch:
        _fix_batch(model, image, batch)


def _fix_size(
    image: onnx.ValueInfoProto, size: tuple[int, int] | None, default: tuple[int, int] | None
) -> None:
    have = dims(image)[2:]
    wanted = size or default
    if size and any(
        isinstance(found, int) and found != want for found, want in zip(have, size, strict=True)
    ):
        raise ForgeError(
            f"input {image.name!r} is {'x'.join(map(str, have))}, not {size[0]}x{size[1]}",
            "drop --size, or export the model at that size",
        )
    if wanted:
        for dim, found, want in zip(
            image.type.tensor_type.shape.dim[2:], have, wanted, strict=True
        ):
            if not isinstance(found, int):
                dim.dim_value = want


def _fix_batch(model: onnx.ModelProto, image: onnx.ValueInfoProto, batch: int) -> None:
    """Set the batch dimension of every input that shares the image's."""
    found = dims(image)[0]
    if isinstance(found, int) and found != batch:
        raise ForgeError(
            f"the batch of input {image.name!r} is {found}, not {batch}",
            "drop --batch, or export the model with a dynamic batch",
        )
    for value in inputs(model):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param == found:
                dim.dim_value = batch
