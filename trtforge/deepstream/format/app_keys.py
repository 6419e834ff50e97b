"""The groups and keys of deepstream-app's configuration, with the types that its parser reads.

Read from ``deepstream_config_file_parser.c`` and ``deepstream_app_config_parser.c`` of DeepStream
9.1. Most switches are *integers* there: ``enable=true`` is not a number, and then sources, GIEs and
sinks are silently left out.
"""

from __future__ import annotations

import re
from dataclasses import replace

from trtforge.deepstream.format.keys import Key

_INT = Key("int", 0)
_SWITCH = Key("int", 0, choices={0: "off", 1: "on"})
_BOOL = Key("bool", False)
_TEXT = Key("string")
_PATH = Key("path")
_FLOAT = Key("float")
_COLOR = Key("floats", count=4)
_MEMORY = {"gpu-id": _INT, "nvbuf-memory-type": _INT}


def _keys(kind: Key, names: str) -> dict[str, Key]:
    return dict.fromkeys(names.split(), kind)


_APPLICATION = (
    _keys(_SWITCH, "enable-perf-measurement")
    | _keys(_INT, "perf-measurement-interval-sec global-gpu-id")
    | _keys(
        _PATH,
        "gie-kitti-output-dir kitti-track-output-dir reid-track-output-dir terminated-track-output-dir "
        "shadow-track-output-dir",
    )
)
_SOURCE = (
    {
        "enable": _SWITCH,
        **_MEMORY,
        "type": Key(
            "int",
            0,
            choices={
                1: "V4L2 camera",
                2: "URI",
                3: "one URI several times",
                4: "RTSP",
                5: "CSI camera",
                6: "WAV file",
                7: "audio URI",
                8: "ALSA microphone",
                9: "IPC",
            },
        ),
        "latency": replace(_INT, default=100),
        "smart-rec-video-cache": Key("int", instead="smart-rec-cache"),
        "extract-sei-type5-data": replace(
            _INT,
            remark="deepstream-app 9.1 looks for it in a group named [source], and "
            "then refuses the file",
        ),
    }
    | _keys(
        _INT,
        "camera-width camera-height camera-fps-n camera-fps-d camera-csi-sensor-id camera-v4l2-dev-node "
        "udp-buffer-size num-sources num-decode-surfaces num-extra-surfaces drop-frame-interval drop-on-latency "
        "camera-id rtsp-reconnect-interval-sec init-rtsp-reconnect-interval-sec rtsp-reconnect-attempts "
        "simulate-fps-interval-ms intra-decode-enable low-latency-decode cudadec-memtype select-rtp-protocol "
        "set-rtp-protocol leaky max-size-buffers buffer-mode source-id smart-record smart-rec-cache "
        "smart-rec-container smart-rec-start-time smart-rec-default-duration smart-rec-duration "
        "smart-rec-interval copy-hw",
    )
    | _keys(_TEXT, "uri alsa-device video-format smart-rec-dir-path smart-rec-file-prefix")
    | _keys(_BOOL, "sensorID-padID-mapping")
)
_SOURCE_LIST = (
    _keys(
        _INT,
        "num-source-bins max-batch-size sgie-batch-size extract-sei-type5-data low-latency-mode",
    )
    | _keys(
        _BOOL,
        "use-nvmultiurisrcbin stream-name-display enable-error-propagation dummy-payload custom-ts-to-rfc",
    )
    | _keys(Key("strings"), "list sensor-id-list sensor-name-list")
    | _keys(_TEXT, "http-ip http-port batched-sensor-name sei-uuid proto-lib conn-str topic")
)
_STREAMMUX = (
    _MEMORY
    | _keys(
        _INT,
        "width height batch-size batched-push-timeout buffer-pool-size compute-hw cache-buffer-timeout "
        "frame-duration max-latency num-surfaces-per-frame extract-sei-type5-data extract-sei-sim-time "
        "align-first-buffer failsafe-flush-count drop-backward-sei sync-inputs-ntp",
    )
    | _keys(_SWITCH, "live-source enable-padding sync-inputs attach-sys-ts-as-ntp")
    | _keys(
        _BOOL,
        "sort-batch cache-buffer frame-num-reset-on-stream-reset frame-num-reset-on-eos async-process "
        "drop-pipeline-eos",
    )
    | {"config-file-path": _PATH}
)
_GIE = (
    {
        "enable": _SWITCH,
        **_MEMORY,
        "plugin-type": Key(
            "int",
            0,
            choices={0: "nvinfer", 1: "nvinferserver", 2: "nvinferaudio", 3: "vision encoder"},
        ),
        "config-file": _PATH,
        "model-engine-file": _PATH,
        "labelfile-path": _PATH,
        "infer-raw-output-dir": _PATH,
        "batch-size": Key("int", low=1, high=1024),
        "gie-unique-id": Key("int", low=1),
        "interval": Key("int", low=0),
        "operate-on-gie-id": Key("int", -1),
        "operate-on-class-ids": Key("ints"),
        "input-tensor-meta": _BOOL,
        "bbox-border-color": _COLOR,
        "bbox-bg-color": _COLOR,
    }
    | _keys(_TEXT, "audio-transform model-variant device backend triton-url triton-model")
    | _keys(_INT, "audio-framesize audio-hopsize audio-input-rate min-crop-size verbose")
)
_TRACKER = {
    "enable": _SWITCH,
    "gpu-id": _INT,
    "ll-lib-file": _PATH,
    "ll-config-file": Key("paths"),
    "display-tracking-id": replace(_SWITCH, default=1),
    "input-tensor-meta": _BOOL,
    "sub-batches": _TEXT,
    "operate-on-class-ids": _TEXT,
} | _keys(
    _INT,
    "tracker-width tracker-height tracker-surface-type tracking-surface-type tracking-id-reset-mode "
    "tensor-meta-gie-id compute-hw user-meta-pool-size sub-batch-err-recovery-trial-cnt",
)
_TILER = {"enable": _INT, **_MEMORY, "square-seq-grid": _BOOL} | _keys(
    _INT, "rows columns width height compute-hw buffer-pool-size"
)
_OSD = (
    {"enable": _SWITCH, **_MEMORY, "font": _TEXT, "hw-blend-color-attr": _TEXT}
    | _keys(
        _INT,
        "process-mode border-width text-size show-clock clock-x-offset clock-y-offset clock-text-size",
    )
    | _keys(_COLOR, "text-color text-bg-color clock-color")
    | _keys(_BOOL, "display-text display-bbox display-mask")
)
_MSGCONV = (
    _keys(_PATH, "msg-conv-config msg-conv-msg2p-lib debug-payload-dir")
    | _keys(_INT, "msg-conv-payload-type msg-conv-comp-id msg-conv-frame-interval")
    | _keys(_BOOL, "multiple-payloads msg-conv-msg2p-new-api msg-conv-dummy-payload")
    | {"msg-conv-embedding-filter": _TEXT}
)
_SINK = (
    {
        "enable": _SWITCH,
        **_MEMORY,
        **_MSGCONV,
        "type": Key(
            "int",
            0,
            choices={
                1: "none",
                2: "EGL display",
                3: "file",
                4: "RTSP",
                5: "DRM display",
                6: "message broker",
                7: "3D display",
            },
        ),
        "container": Key("int", 1, choices={1: "mp4", 2: "mkv"}),
        "codec": Key("int", 1, choices={1: "H.264", 2: "H.265", 3: "MPEG4"}),
        "enc-type": Key("int", 0, choices={0: "hardware", 1: "software"}),
        "output-file": replace(_TEXT, remark=""),
        "msg-broker-config": _PATH,
    }
    | _keys(
        _INT,
        "width height sync source-id bitrate profile iframeinterval copy-meta output-io-mode sw-preset "
        "rtsp-port udp-port udp-buffer-size color-range conn-id plane-id set-mode link-to-demux compute-hw "
        "msg-broker-comp-id disable-msgconv sleep-time",
    )
    | _keys(_BOOL, "qos nvdslogger show-fps show-latency new-api")
    | _keys(_TEXT, "msg-broker-proto-lib msg-broker-conn-str topic")
)
_PREPROCESS: dict[str, Key] = {"enable": _SWITCH, "operate-on-gie-id": _INT, "config-file": _PATH}
_EXAMPLE: dict[str, Key] = {"enable": _SWITCH, **_MEMORY, "blur-objects": _BOOL} | _keys(
    _INT, "full-frame processing-width processing-height unique-id batch-size"
)
_IMG_SAVE = (
    {"enable": _SWITCH, "gpu-id": _INT}
    | _keys(_TEXT, "output-folder-path frame-to-skip-rules-path")
    | _keys(
        _FLOAT,
        "save-img-full-frame save-img-cropped-obj second-to-skip-interval min-confidence max-confidence",
    )
    | _keys(_INT, "min-box-width min-box-height")
)
_DEWARPER = {
    "enable": _SWITCH,
    **_MEMORY,
    "config-file": _PATH,
    **_keys(_INT, "num-surfaces-per-frame source-id num-output-buffers"),
}
_CONSUMER = {
    "enable": _SWITCH,
    "config-file": _PATH,
    "sensor-list-file": _PATH,
    "proto-lib": _TEXT,
    "conn-str": _TEXT,
    "subscribe-topic-list": Key("strings"),
}
_REPLAY = (
    {"enable": _SWITCH, "label-dir": _PATH}
    | _keys(_TEXT, "file-names max-frame-nums")
    | _keys(_INT, "label-width label-height interval")
)
_ENCODER = (
    {"enable": _SWITCH, "gpu-id": _INT, "onnx-model": _PATH, "tensorrt-engine": _PATH}
    | _keys(_TEXT, "model-variant device backend triton-url triton-model embedding-classes")
    | _keys(
        _INT,
        "batch-size min-crop-size skip-interval cache-refresh-interval cache-max-size query-only",
    )
    | _keys(_BOOL, "verbose smart-infer ofa-predict")
    | _keys(_FLOAT, "ofa-motion-threshold ofa-high-motion-threshold")
)

GROUPS: dict[str, dict[str, Key]] = {
    "application": _APPLICATION,
    "source-list": _SOURCE_LIST,
    "source-attr-all": _SOURCE,
    "streammux": _STREAMMUX,
    "osd": _OSD,
    "segvisual": _keys(_INT, "enable width height batch-size nvbuf-memory-type gpu-id"),
    "pre-process": _PREPROCESS,
    "primary-gie": _GIE,
    "tracker": _TRACKER,
    "tiled-display": _TILER,
    "img-save": _IMG_SAVE,
    "nvds-analytics": {"enable": _SWITCH, "config-file": _PATH},
    "ds-example": _EXAMPLE,
    "message-converter": {"enable": _SWITCH, **_MSGCONV},
    "replay": _REPLAY,
    "visionencoder": _ENCODER,
    "text-embedder": {
        "enable": _SWITCH,
        "model-name": _TEXT,
        "onnx-model-path": _PATH,
        "tokenizer-dir": _PATH,
    },
    "tests": {"file-loop": _SWITCH, "pipeline-recreate-sec": _INT},
}
# Groups that occur several times, with a number behind the name: source0, source1 ...
FAMILIES: dict[str, dict[str, Key]] = {
    "source": _SOURCE,
    "sink": _SINK,
    "secondary-gie": _GIE,
    "secondary-pre-process": _PREPROCESS,
    "dewarper": _DEWARPER,
    "message-consumer": _CONSUMER,
}
# Keys of [primary-gie] and [secondary-gieN] that end in a class number: bbox-border-color2.
_CLASS_COLOR = re.compile(r"(bbox-(?:border|bg)-color)\d+")
# Keys that older versions read; the text completes the sentence "KEY is ...".
REMOVED = {
    "enable-batch-process": "gone: the tracker always works on batches",
    "enable-past-frame": "gone: set it in the tracker's own file",
}


def app(group: str) -> dict[str, Key] | None:
    """Return the keys of a group of deepstream-app's file; None for a group that it never reads."""
    if group in GROUPS:
        return GROUPS[group]
    family = group.rstrip("0123456789")
    has_number = family != group
    # deepstream-app reads [sink] and [secondary-gie], too; other families need their number.
    if has_number or family in ("sink", "secondary-gie"):
        return FAMILIES.get(family)
    return None


def key_of(group: str, name: str) -> Key | None:
    """Return a key of a group, also one with a class number in its name."""
    table = app(group) or {}
    if name in table:
        return table[name]
    color = _CLASS_COLOR.fullmatch(name)
    return table.get(color[1]) if color else None
