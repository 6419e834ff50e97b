from typing import Any

import numpy as np

def get_numpy_type(onnx_type: int) -> np.dtype[Any] | int: ...
