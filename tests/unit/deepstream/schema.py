"""The messages of Triton's and nvinferserver's configuration that trtforge writes, for protobuf to
check them with.

Field names, numbers and types as Triton's model_config.proto and DeepStream 9.1's nvdsinferserver
protos publish them: `name=number:type` a field, `*` for a list, and alternatives of one choice as
`choice/name`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

ENUMS = {
    "DataType": "TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 TYPE_INT16 TYPE_INT32 "
    "TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16",
    "Format": "FORMAT_NONE FORMAT_NHWC FORMAT_NCHW",
    "Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
    "MediaFormat": "MEDIA_FORMAT_NONE IMAGE_FORMAT_RGB IMAGE_FORMAT_BGR IMAGE_FORMAT_GRAY",
    "TensorOrder": "TENSOR_ORDER_NONE TENSOR_ORDER_LINEAR TENSOR_ORDER_NHWC",
    "ProcessMode": "PROCESS_MODE_DEFAULT PROCESS_MODE_FULL_FRAME PROCESS_MODE_CLIP_OBJECTS",
}
MESSAGES = {
    "ModelConfig": "name=1:string platform=2:string max_batch_size=4:int32 input=5:ModelInput* output=6:ModelOutput* "
                   "instance_group=7:ModelInstanceGroup* default_model_filename=8:string "
                   "scheduling_choice/dynamic_batching=11:ModelDynamicBatching backend=17:string",
    "ModelInput": "name=1:string data_type=2:DataType format=3:Format dims=4:int64*",
    "ModelOutput": "name=1:string data_type=2:DataType dims=3:int64*",
    "ModelInstanceGroup": "name=1:string count=2:int32 gpus=3:int32* kind=4:Kind",
    "ModelDynamicBatching": "preferred_batch_size=1:int32* max_queue_delay_microseconds=2:uint64",
    "PluginControl": "infer_config=1:InferenceConfig input_control=2:InputControl output_control=3:OutputControl",
    "InputControl": "process_mode=1:ProcessMode operate_on_gie_id=2:int32 inference_interval/interval=4:uint32",
    "OutputControl": "output_tensor_meta=1:bool",
    "InferenceConfig": "unique_id=1:uint32 gpu_ids=2:int32* max_batch_size=3:uint32 backend=4:BackendParams "
                       "preprocessing/preprocess=5:PreProcessParams postprocessing/postprocess=6:PostProcessParams "
                       "custom_lib=7:CustomLib clip_object_outside_roi=11:bool",
    "BackendParams": "infer_framework/triton=4:TritonParams disable_warmup=6:bool",
    "TritonParams": "model_name=1:string version=2:int64 server/model_repo=4:TritonModelRepo "
                    "server/grpc=5:TritonGrpcParams",
    "TritonModelRepo": "root=1:string* log_level=2:uint32 strict_model_config=3:bool model_control_mode=8:string",
    "TritonGrpcParams": "url=1:string enable_cuda_buffer_sharing=2:bool",
    "PreProcessParams": "network_format=1:MediaFormat tensor_order=2:TensorOrder tensor_name=3:string "
                        "maintain_aspect_ratio=4:int32 frame_scaling_filter=6:uint32 "
                        "preprocess_method/normalize=7:ScaleNormalize symmetric_padding=8:int32",
    "ScaleNormalize": "scale_factor=1:float channel_offsets=2:float* mean_file=3:string",
    "PostProcessParams": "labelfile_path=1:string process_type/detection=2:DetectionParams "
                         "process_type/other=5:OtherNetworkParams",
    "DetectionParams": "num_detected_classes=1:int32 custom_parse_bbox_func=3:string clustering_policy/nms=4:Nms "
                       "clustering_policy/simple_cluster=7:SimpleCluster",
    "Nms": "confidence_threshold=1:float iou_threshold=2:float topk=3:int32",
    "SimpleCluster": "threshold=1:float",
    "OtherNetworkParams": "type_name=1:string",
    "CustomLib": "path=1:string",
}  # fmt: skip
_FIELD = re.compile(r"(?:(\w+)/)?(\w+)=(\d+):(\w+)(\*?)")


def parse(kind: str, text: str) -> Any:
    """The message that a text says, or `google.protobuf.text_format.ParseError`."""
    message = message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"schema.{kind}"))()
    return text_format.Parse(text, message)


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="schema.proto", package="schema", syntax="proto3"
    )
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        choices: list[str] = []
        for choice, field, number, kind, many in _FIELD.findall(fields):
            made = message.field.add(name=field, number=int(number), label=3 if many else 1)
            if kind in ENUMS or kind in MESSAGES:
                made.type, made.type_name = (14 if kind in ENUMS else 11), f".schema.{kind}"
            else:
                made.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            if choice:
                if choice not in choices:
                    choices.append(choice)
                    message.oneof_decl.add(name=choice)
                made.oneof_index = choices.index(choice)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
