"""The part of PyTorch that trtforge uses: its own types would make mypy three times slower."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import backends as backends
from torch import cuda as cuda
from torch import export as export
from torch import fx as fx
from torch import jit as jit
from torch import nn as nn
from torch import onnx as onnx

_C = TypeVar("_C", bound=Callable[..., object])

__version__: str
__file__: str

class dtype: ...

float16: dtype
float32: dtype

class device:
    def __init__(self, type: str) -> None: ...

class SymNode:
    hint: int
    expr: object

class SymInt:
    node: SymNode

class Tensor:
    shape: tuple[int, ...]
    dtype: dtype
    ndim: int
    def numpy(self) -> NDArray[Any]: ...
    def float(self) -> Tensor: ...
    def cuda(self) -> Tensor: ...
    def to(self, *args: object) -> Tensor: ...
    def pin_memory(self) -> Tensor: ...
    def copy_(self, src: Tensor, non_blocking: bool = ...) -> Tensor: ...
    def requires_grad_(self, requires_grad: bool = ...) -> Tensor: ...

def zeros(size: tuple[int, ...]) -> Tensor: ...
def empty(size: tuple[int, ...], *, dtype: dtype = ..., pin_memory: bool = ...) -> Tensor: ...
def from_numpy(array: NDArray[np.generic]) -> Tensor: ...
def no_grad() -> AbstractContextManager[None]: ...
def inference_mode() -> AbstractContextManager[None]: ...
def compile(model: nn.Module, *, dynamic: bool = ...) -> nn.Module: ...
def load(f: str | PathLike[str], *, map_location: str, weights_only: bool) -> object: ...
def save(obj: object, f: str | PathLike[str]) -> None: ...
