from typing import Any

from polygraphy.backend.base import BaseRunner

class TrtRunner(BaseRunner):
    def __init__(self, engine: Any) -> None: ...
