"""A pipeline for deepstream-app around one primary detector."""

from __future__ import annotations

import math

from trtforge.deepstream.nvinfer import Config

SAMPLE = "file:///opt/nvidia/deepstream/deepstream/samples/streams/sample_720p.mp4"
FRAME = (1280, 720)  # width, height of the sample stream in pixels
FRAME_TIME_US = 40000  # how long the muxer waits for a full batch: one frame at 25 frames a second


def config(pgie: str, batch: int) -> Config:
    """As many copies of DeepStream's sample stream as the batch holds, tiled on a screen.

    Args:
        pgie: file name of the nvinfer configuration, beside this one.
        batch: number of sources.
    """
    columns = math.ceil(math.sqrt(batch))
    return {
        "application": {"enable-perf-measurement": True, "perf-measurement-interval-sec": 5},
        "tiled-display": {"enable": True, "rows": math.ceil(batch / columns), "columns": columns,
                          "width": FRAME[0], "height": FRAME[1], "gpu-id": 0},
        "source0": {"enable": True, "type": 3, "uri": SAMPLE, "num-sources": batch, "gpu-id": 0},
        "streammux": {"gpu-id": 0, "batch-size": batch, "batched-push-timeout": FRAME_TIME_US,
                      "width": FRAME[0], "height": FRAME[1], "live-source": False},
        "primary-gie": {"enable": True, "gpu-id": 0, "gie-unique-id": 1, "batch-size": batch, "config-file": pgie},
        "osd": {"enable": True, "gpu-id": 0, "border-width": 2, "text-size": 12},
        "sink0": {"enable": True, "type": 2, "sync": False, "gpu-id": 0},
        "tests": {"file-loop": False},
    }  # fmt: skip
