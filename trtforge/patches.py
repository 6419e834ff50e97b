"""Define the edits of a graph that a recipe can list."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
Dtype = Literal["float32", "float16", "int64", "int32", "int8", "uint8", "bool"]


class Section(BaseModel):
    """A mapping in a recipe: unknown keys are errors, and its values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rename(Section):
    """Rename a tensor or a node."""

    patch: Literal["rename"]
    tensor: Name | None = None
    node: Name | None = None
    to: Name

    @model_validator(mode="after")
    def _one(self) -> Rename:
        if (self.tensor is None) == (self.node is None):
            raise ValueError("rename takes either a tensor or a node")
        return self


class Delete(Section):
    """Delete a node: the readers of its first output then read its first input."""

    patch: Literal["delete"]
    node: Name


class Constant(Section):
    """Give a constant another value, or turn any tensor, an input too, into a constant."""

    patch: Literal["constant"]
    tensor: Name
    value: Any
    dtype: Dtype | None = None


class Cast(Section):
    """Insert a Cast after a tensor: the readers of the tensor then read the cast."""

    patch: Literal["cast"]
    tensor: Name
    to: Dtype


class Cut(Section):
    """Keep the part of the graph between tensors, which become its inputs and outputs."""

    patch: Literal["cut"]
    inputs: tuple[Name, ...] = ()
    outputs: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> Cut:
        if not (self.inputs or self.outputs):
            raise ValueError("cut takes inputs, outputs or both")
        return self


class Output(Section):
    """Add a tensor to the outputs of the graph."""

    patch: Literal["output"]
    tensor: Name


class Dims(Section):
    """Set the dimensions of an input or output: numbers, or names of dynamic dimensions."""

    patch: Literal["dims"]
    tensor: Name
    dims: tuple[Annotated[int, Field(gt=0)] | Name, ...]


Patch = Annotated[
    Rename | Delete | Constant | Cast | Cut | Output | Dims, Field(discriminator="patch")
]
KINDS: tuple[type[Section], ...] = (Rename, Delete, Constant, Cast, Cut, Output, Dims)
