# syntax=docker/dockerfile:1
# trtforge on a base that brings TensorRT. An engine loads only in the TensorRT that made it, so the base is the image
# in which the target's DeepStream runs; `make image DEVICE=orin-nx` finds it in trtforge/devices/stacks.yaml.
#   x86         nvcr.io/nvidia/deepstream:9.1-samples-multiarch, nvcr.io/nvidia/tensorrt:26.04-py3 without DeepStream
#   Jetson      nvcr.io/nvidia/deepstream:9.1-samples-multiarch, on JetPack 7.2
#   DGX Spark   nvcr.io/nvidia/deepstream:9.1-triton-sbsa-dgx-spark
#
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" trtforge:l4 build model.onnx --int8 --calib photos/
ARG BASE=nvcr.io/nvidia/deepstream:9.1-samples-multiarch

# Wheels are made apart: trtforge and pycuda need a compiler, pycuda also CUDA's headers; the image does not.
FROM ${BASE} AS wheels
# hadolint ignore=DL3002
USER 0
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The headers of the base's own CUDA, such as 13-2. A base for development has them.
# hadolint ignore=DL3008
RUN apt-get update \
    && cuda="$(basename "$(readlink -f /usr/local/cuda)" | sed 's/^cuda-//; s/\./-/')" \
    && headers=() \
    && if [ ! -e /usr/local/cuda/include/cudaProfiler.h ] || [ ! -e /usr/local/cuda/include/curand.h ]; then \
         headers=("cuda-cudart-dev-$cuda" "cuda-driver-dev-$cuda" "cuda-profiler-api-$cuda" "libcurand-dev-$cuda"); \
       fi \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
         g++ python3-dev python3-pip python3-venv "${headers[@]}" \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY trtforge trtforge
COPY recipes recipes
# libcuda.so comes with the driver when the image runs; to link pycuda there is a stub.
RUN python3 -m venv /opt/pip \
    && CUDA_ROOT=/usr/local/cuda LIBRARY_PATH=/usr/local/cuda/lib64/stubs \
       /opt/pip/bin/pip wheel --no-cache-dir --wheel-dir /wheels . 'pycuda>=2025.1'

FROM ${BASE}
USER 0
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Jetson's base has TensorRT without Python bindings: those of exactly its version, else apt takes the newest TensorRT.
# hadolint ignore=DL3008
RUN apt-get update \
    && bindings=() \
    && if ! python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("tensorrt") is None)'; then \
         bindings=("python3-libnvinfer=$(dpkg-query -W -f='${Version}' libnvinfer10)"); \
       fi \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv "${bindings[@]}" \
    && rm -rf /var/lib/apt/lists/*
# The bindings lie in the system's packages: hence system-site-packages.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python3 -m venv --system-site-packages /opt/trtforge \
    && /opt/trtforge/bin/pip install --no-cache-dir --no-index --find-links /wheels trtforge pycuda

# Any user may run it, so that what it writes belongs to whoever started it.
RUN useradd --create-home --uid 10001 forge && install --directory --mode=1777 /var/cache/trtforge
ENV TRTFORGE_STORE=/var/cache/trtforge/store
USER 10001
WORKDIR /data
ENTRYPOINT ["/opt/trtforge/bin/trtforge"]
CMD ["doctor"]
