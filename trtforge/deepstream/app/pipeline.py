"""Describe a whole pipeline for deepstream-app, from the sources to the sinks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trtforge.deepstream.app.streams import Stream
from trtforge.deepstream.format.config import Config
from trtforge.deepstream.format.keys import Value
from trtforge.errors import ForgeError

SAMPLE = "file:///opt/nvidia/deepstream/deepstream/samples/streams/sample_720p.mp4"
SAMPLE_FRAME = (1280, 720)  # width, height of the sample stream in pixels
FRAME = (1920, 1080)  # width, height of most cameras in pixels
TILER_SIZE = (1280, 720)  # width, height of the picture that holds all tiles, in pixels
FRAME_TIME_US = 40000  # how long the muxer waits for a full batch: one frame at 25 frames a second
SINKS = ("display", "file", "rtsp", "fake")

_INSTALLED = "/opt/nvidia/deepstream/deepstream"
_TRACKERS = f"{_INSTALLED}/samples/configs/deepstream-app"
TRACKER_LIBRARY = f"{_INSTALLED}/lib/libnvds_nvmultiobjecttracker.so"
# Presets that DeepStream installs: the file, and the width and height at which frames are tracked.
# NvDCF takes multiples of 32; the other two look at boxes only.
TRACKERS = {
    "iou": ("config_tracker_IOU.yml", (640, 384)),
    "nvsort": ("config_tracker_NvSORT.yml", (640, 384)),
    "nvdcf-perf": ("config_tracker_NvDCF_perf.yml", (640, 384)),
    "nvdcf-accuracy": ("config_tracker_NvDCF_accuracy.yml", (960, 544)),
}


@dataclass(frozen=True)
class Gie:
    """A network of the pipeline: its nvinfer configuration, and figures from it.

    Attributes:
        config: path of the nvinfer configuration, relative to the pipeline's file.
        batch: largest batch that its engine takes.
        objects_of: unique id of the network whose objects it works on; None if the pipeline's file
            does not name one.
    """

    config: str
    batch: int
    unique_id: int = 1
    objects_of: int | None = None


@dataclass(frozen=True)
class Pipeline:
    """The parts of a pipeline.

    Attributes:
        streams: sources; none is as many copies of DeepStream's sample as the primary network's
            batch holds.
        primary, secondary: networks.
        tracker: a preset's name, or None.
        sinks: names from ``SINKS``.
        frame: width and height of the muxer's frames in pixels.
        interval: number of frames that the primary network skips after each one it processes.
        output: video file of the ``file`` sink.
        port: port of the ``rtsp`` sink.
    """

    streams: tuple[Stream, ...]
    primary: Gie
    secondary: tuple[Gie, ...] = ()
    tracker: str | None = None
    sinks: tuple[str, ...] = ("display",)
    frame: tuple[int, int] = FRAME
    interval: int = 0
    output: str = "out.mp4"
    port: int = 8554


def config(pipeline: Pipeline) -> tuple[Config, list[str]]:
    """Return the groups with their keys in order, and comments on facts that no key expresses.

    Raises:
        ForgeError: an unknown tracker or sink, or networks whose ids clash.
    """
    _check(pipeline)
    count = len(pipeline.streams) or pipeline.primary.batch
    columns = math.ceil(math.sqrt(count))
    live = any(stream.live for stream in pipeline.streams)
    width, height = pipeline.frame if pipeline.streams else SAMPLE_FRAME
    invisible = set(pipeline.sinks) == {"fake"}  # nobody sees the tiles or the overlay
    sections: Config = {
        "application": {"enable-perf-measurement": 1, "perf-measurement-interval-sec": 5},
        "tiled-display": {
            "enable": int(not invisible),
            "rows": math.ceil(count / columns),
            "columns": columns,
            "width": TILER_SIZE[0],
            "height": TILER_SIZE[1],
            "gpu-id": 0,
        },
        **_sources(pipeline.streams, count),
        "streammux": {
            "gpu-id": 0,
            "batch-size": count,
            "batched-push-timeout": FRAME_TIME_US,
            "width": width,
            "height": height,
            "live-source": int(live),
        },
        **_networks(pipeline),
        **_tracker(pipeline.tracker),
        "osd": {"enable": int(not invisible), "gpu-id": 0, "border-width": 2, "text-size": 12},
        **{
            f"sink{number}": _sink(name, pipeline, live)
            for number, name in enumerate(pipeline.sinks)
        },
        "tests": {"file-loop": 0},
    }
    return sections, _comments(pipeline, count)


def _check(pipeline: Pipeline) -> None:
    if pipeline.tracker is not None and pipeline.tracker not in TRACKERS:
        raise ForgeError(
            f"--tracker {pipeline.tracker}: not known", f"one of: {', '.join(TRACKERS)}"
        )
    for sink in pipeline.sinks:
        if sink not in SINKS:
            raise ForgeError(f"--sink {sink}: not known", f"one of: {', '.join(SINKS)}")
    duplicate = next((sink for sink in pipeline.sinks if pipeline.sinks.count(sink) > 1), None)
    if duplicate:
        raise ForgeError(
            f"--sink {duplicate}: given twice, with one port or file for both",
            "give each sink once",
        )
    ids = [gie.unique_id for gie in (pipeline.primary, *pipeline.secondary)]
    if len(set(ids)) < len(ids):
        raise ForgeError(
            f"two networks have gie-unique-id {max(ids, key=ids.count)}",
            "write one of them again with another --unique-id",
        )
    for gie in pipeline.secondary:
        if gie.objects_of == gie.unique_id:
            raise ForgeError(
                f"{gie.config}: works on objects of its own (gie-unique-id {gie.objects_of})",
                "write it again with another --on-gie or --unique-id",
            )
        if gie.objects_of is not None and gie.objects_of not in ids:
            raise ForgeError(
                f"{gie.config}: works on objects of network {gie.objects_of}, which is not in the pipeline",
                "write it again with another --on-gie",
            )


def _sources(streams: Sequence[Stream], count: int) -> Config:
    if not streams:
        return {
            "source0": {"enable": 1, "type": 3, "uri": SAMPLE, "num-sources": count, "gpu-id": 0}
        }
    return {f"source{number}": _source(stream) for number, stream in enumerate(streams)}


def _source(stream: Stream) -> dict[str, Value]:
    if stream.scheme == "csi":
        return {
            "enable": 1,
            "type": 5,
            "camera-csi-sensor-id": int(stream.uri),
            "camera-width": FRAME[0],
            "camera-height": FRAME[1],
            "camera-fps-n": 30,
            "camera-fps-d": 1,
        }
    if stream.scheme == "v4l2":
        return {
            "enable": 1,
            "type": 1,
            "camera-v4l2-dev-node": int(stream.uri),
            "camera-width": 640,
            "camera-height": 480,
            "camera-fps-n": 30,
            "camera-fps-d": 1,
        }
    if stream.scheme in ("rtsp", "rtsps"):
        # select-rtp-protocol 4 is TCP: cameras over UDP lose packets, and pictures with them
        return {
            "enable": 1,
            "type": 4,
            "uri": stream.uri,
            "latency": 200,
            "select-rtp-protocol": 4,
            "rtsp-reconnect-interval-sec": 10,
            "rtsp-reconnect-attempts": -1,
            "gpu-id": 0,
        }
    return {"enable": 1, "type": 2, "uri": stream.uri, "gpu-id": 0}


def _networks(pipeline: Pipeline) -> Config:
    primary = pipeline.primary
    groups: Config = {
        "primary-gie": {
            "enable": 1,
            "gpu-id": 0,
            "gie-unique-id": primary.unique_id,
            "batch-size": primary.batch,
            "interval": pipeline.interval,
            "config-file": primary.config,
        }
    }
    for number, gie in enumerate(pipeline.secondary):
        groups[f"secondary-gie{number}"] = {
            "enable": 1,
            "gpu-id": 0,
            "gie-unique-id": gie.unique_id,
            "batch-size": gie.batch,
            **({"operate-on-gie-id": gie.objects_of} if gie.objects_of is not None else {}),
            "config-file": gie.config,
        }
    return groups


def _tracker(name: str | None) -> Config:
    if name is None:
        return {}
    file, (width, height) = TRACKERS[name]
    return {
        "tracker": {
            "enable": 1,
            "tracker-width": width,
            "tracker-height": height,
            "ll-lib-file": TRACKER_LIBRARY,
            "ll-config-file": (f"{_TRACKERS}/{file}",),
            "gpu-id": 0,
            "display-tracking-id": 1,
        }
    }


def _sink(name: str, pipeline: Pipeline, live: bool) -> dict[str, Value]:
    encoder: dict[str, Value] = {"codec": 1, "enc-type": 0, "bitrate": 4000000}
    forms: dict[str, dict[str, Value]] = {
        "display": {"type": 2},
        "file": {"type": 3, "container": 1, **encoder, "output-file": pipeline.output},
        "rtsp": {"type": 4, **encoder, "rtsp-port": pipeline.port, "udp-port": 5400},
        "fake": {"type": 1},
    }
    # A live source sets the pace itself; a file would run as fast as the GPU can, which a benchmark
    # wants.
    sync = int(name == "display" and bool(pipeline.streams) and not live)
    return {"enable": 1, **forms[name], "sync": sync, "source-id": 0, "gpu-id": 0}


def _comments(pipeline: Pipeline, count: int) -> list[str]:
    comments = ["deepstream-app -c THIS_FILE, written by trtforge."]
    if count > pipeline.primary.batch:
        comments.append(
            f"{count} sources, but {pipeline.primary.config} takes {pipeline.primary.batch} frames at once: "
            f"it runs {math.ceil(count / pipeline.primary.batch)} times for each frame of all."
        )
    if "file" in pipeline.sinks:
        comments.append("output-file is taken from the folder that deepstream-app runs in.")
    return comments
