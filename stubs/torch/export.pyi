from collections.abc import Mapping
from os import PathLike
from typing import Protocol

from torch import nn
from torch.fx import Graph

class GraphSignature:
    user_inputs: tuple[object, ...]

class ValueRange(Protocol):
    lower: int
    upper: int

class ExportedProgram:
    graph: Graph
    graph_signature: GraphSignature
    range_constraints: Mapping[object, ValueRange]
    def module(self) -> nn.Module: ...

def load(f: str | PathLike[str]) -> ExportedProgram: ...
