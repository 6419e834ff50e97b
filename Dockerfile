# The target's TensorRT decides the base: an engine runs only with the TensorRT that built it.
#   docker build --build-arg BASE=nvcr.io/nvidia/tensorrt:25.01-py3 -t trtforge .
#   docker run --gpus all -v "$PWD:/data" trtforge build model.onnx --int8 --calib photos/
ARG BASE=nvcr.io/nvidia/tensorrt:25.01-py3
FROM ${BASE}

# The base brings TensorRT's Python bindings: hence system-site-packages.
RUN python3 -m venv --system-site-packages /opt/trtforge
COPY pyproject.toml README.md LICENSE /src/
COPY trtforge /src/trtforge
COPY recipes/*.yaml /src/recipes/
RUN /opt/trtforge/bin/pip install --no-cache-dir /src 'pycuda>=2025.1' && rm -rf /src

RUN useradd --create-home forge
USER forge
WORKDIR /data
ENTRYPOINT ["/opt/trtforge/bin/trtforge"]
