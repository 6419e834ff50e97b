from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

class BaseRunner:
    def __enter__(self) -> BaseRunner: ...
    def __exit__(self, *error: object) -> None: ...
    def infer(self, feed_dict: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...
