from onnxruntime import InferenceSession
from polygraphy.backend.base import BaseRunner

class OnnxrtRunner(BaseRunner):
    def __init__(self, sess: InferenceSession) -> None: ...
