from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

class RunResults:
    def add(
        self, out_list: Sequence[Mapping[str, NDArray[Any]]], *, runner_name: str = ...
    ) -> None: ...
    def to_json(self) -> str: ...
