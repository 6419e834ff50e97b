"""Build the untouched file with TensorRT-RTX's own parser and builder, for the RTX 4090: what parity is held against.

python -m tests.zoo.raw MODEL.onnx HEIGHT WIDTH BATCH
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorrt_rtx as trt


def main(model: Path, size: tuple[int, int], batch: int) -> int:
    """Print the first error of parser or builder, or nothing, and return 0 if an engine was built."""
    logger = Log()
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        print(parser.get_error(0).desc())
        return 1
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if -1 in tuple(tensor.shape):
            fixed = [batch, 3, *size][: len(tensor.shape)]
            shape = [each if each >= 0 else fixed[axis] for axis, each in enumerate(tensor.shape)]
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        print(logger.first or "no engine, and no message")
        return 1
    return 0


class Log(trt.ILogger):  # type: ignore[misc]
    """The first error that is no echo of the missing driver."""

    first = ""

    def log(self, severity: object, message: str) -> None:
        error = severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)
        if error and not self.first and "cudaError" not in message:
            self.first = message


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(Path(words[0]), (int(words[1]), int(words[2])), int(words[3])))
