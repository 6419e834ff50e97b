"""The user's own edits of a graph, as a recipe lists them: each a small declarative item."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
Dtype = Literal["float32", "float16", "int64", "int32", "int8", "uint8", "bool"]


class Section(BaseModel):
    """A mapping of a recipe: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rename(Section):
    """Give a tensor or a node another name."""

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
    """Take a node away: what read its first output reads its first input."""

    patch: Literal["delete"]
    node: Name


class Constant(Section):
    """Give a constant another value, or turn any tensor, an input too, into a constant."""

    patch: Literal["constant"]
    tensor: Name
    value: Any
    dtype: Dtype | None = None


class Cast(Section):
    """Put a Cast behind a tensor: whatever read it reads the cast."""

    patch: Literal["cast"]
    tensor: Name
    to: Dtype


class Cut(Section):
    """Keep what lies between tensors: they become the graph's inputs (those named) and outputs."""

    patch: Literal["cut"]
    inputs: tuple[Name, ...] = ()
    outputs: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> Cut:
        if not (self.inputs or self.outputs):
            raise ValueError("cut takes inputs, outputs or both")
        return self


class Output(Section):
    """Put a tensor out, beside the outputs that are there."""

    patch: Literal["output"]
    tensor: Name


class Dims(Section):
    """Set the dimensions of an input or output: numbers, or names of dynamic ones."""

    patch: Literal["dims"]
    tensor: Name
    dims: tuple[Annotated[int, Field(gt=0)] | Name, ...]


Patch = Annotated[
    Rename | Delete | Constant | Cast | Cut | Output | Dims, Field(discriminator="patch")
]
KINDS: tuple[type[Section], ...] = (Rename, Delete, Constant, Cast, Cut, Output, Dims)
