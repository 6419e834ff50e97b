"""Which TensorRT each DeepStream loads engines of."""

from __future__ import annotations

# As far as it is published, on desktop GPUs. 9.1: NVIDIA's own README; older ones: README of
# DeepStream-Yolo.
TENSORRT = {
    "9.1": "10.16",
    "7.1": "10.3",
    "7.0": "8.6",
    "6.4": "8.6",
    "6.3": "8.5",
    "6.2": "8.5",
    "6.1": "8.2",
    "6.0": "8.0",
    "5.1": "7.2",
}


def mismatch(deepstream: str, tensorrt: str) -> str:
    """Why that DeepStream can't load an engine of that TensorRT, in one sentence; empty if it can.

    An engine loads only in the TensorRT that made it, so what counts is which one a DeepStream was
    built for.
    """
    wanted = TENSORRT.get(".".join(deepstream.split(".")[:2]))
    if wanted is None:
        known = ", ".join(TENSORRT)
        return f"it is not known which TensorRT DeepStream {deepstream} loads engines of (known are {known})"
    if f"{tensorrt}.".startswith(f"{wanted}."):
        return ""
    return f"DeepStream {deepstream} loads engines of TensorRT {wanted}, not of {tensorrt}"
