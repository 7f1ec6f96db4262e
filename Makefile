# The developer's commands; CI calls the same ones. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Python compiles what is imported, which is a small part of what is installed, and keeps it, unless
# it is told not to.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(PY) -m pip --disable-pip-version-check --quiet install --no-compile
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
ARGS ?=
MINUTES ?= 10
# What the tests serve models of.
EXTRAS := tensorflow,tflite,keras,onnx,torch,sklearn,xgboost,lightgbm,catboost,python,pmml,mojo,mlflow,client,images,parquet
SAMPLE := .cache/models/sample

.PHONY: help system setup build format check test fuzz soak serve bench bench-batching bench-frameworks overload docs sanitize clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

system: ## install the system packages that are missing (Debian, Ubuntu)
	@missing=""; \
	[ -e /usr/include/nghttp2/nghttp2.h ] || missing="$$missing libnghttp2-dev"; \
	command -v g++ >/dev/null || missing="$$missing g++"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	[ -e "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
		|| missing="$$missing python3-dev"; \
	for tool in curl:curl h2load:nghttp2-client openssl:openssl java:default-jre-headless $(TOOLS); do \
		command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		$(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; \
	fi

$(VENV)/.installed: pyproject.toml setup.py Makefile
	@echo "making the environment in $(VENV)"
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade "pip>=25.1" "setuptools>=77"
	@$(INSTALL) "Cython>=3.1" "grpcio-tools>=1.70" "numpy>=2.0"
	@# The build for CPUs, where pip finds it: the other one brings gigabytes for GPUs.
	@$(INSTALL) "torch==2.13.0+cpu" 2>/dev/null || true
	@$(INSTALL) --group dev --group bench
	@$(INSTALL) --no-build-isolation --editable ".[$(EXTRAS)]"
	@# Without what they ask for: TensorFlow under another name, which is there already.
	@$(INSTALL) --no-deps "tensorflow-serving-api>=2.16,<2.22" \
		"tensorflow-text==$$($(PY) -c 'from importlib.metadata import version; \
			print(version("tensorflow-cpu").rpartition(".")[0])').*"
	@touch $@

setup: system $(VENV)/.installed ## make .venv with salver and tensorflow_model_server in it
	@$(MAKE) --no-print-directory build

build: ## compile the extensions and the messages again, where they changed
	@$(PY) setup.py --quiet build_ext --inplace

format: ## put every file into the house format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

check: ## format, lint, types, import rules, sizes
	@$(PY) -m ruff format --check --quiet . || { $(PY) -m ruff format --check .; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m pytest -q tests/unit/test_shape.py

test: setup check ## check, then every test; ARGS="-k name" for a part
	@# Tests mostly wait, for servers to start and for models to be made: three files at a time.
	@$(PY) -m pytest -n 3 --dist loadfile $(ARGS)

fuzz: setup ## damaged input at every border for MINUTES=10 in all; ARGS="--borders json,http2"
	@$(PY) -m tests.fuzz --minutes $(MINUTES) $(ARGS)

soak: setup ## 200 swaps of a 200 MB model under load: the memory stays; ARGS="--swaps 20"
	@$(PY) -m tests.process.soak $(ARGS)

serve: setup ## serve a sample model; shows a prediction and the curl line to try
	@[ -d $(SAMPLE) ] || $(PY) examples/export_sample_model.py $(SAMPLE)
	@exec $(PY) examples/serve_sample_model.py $(SAMPLE)

bench bench-frameworks: TOOLS := wrk:wrk
bench: system setup ## compare with baselines in the same run; ARGS="--quick" for a short one
	@$(PY) -m benchmarks $(ARGS)

bench-batching: system setup ## what batching does to throughput and latency; ARGS as for bench
	@$(PY) -m benchmarks.batching $(ARGS)

bench-frameworks: system setup ## models of many frameworks against their bare loops and other servers; ARGS as for bench
	@$(PY) -m benchmarks.frameworks $(ARGS)

overload: setup ## several times the requests that the server can do: what is left of its throughput
	@$(PY) -m benchmarks.overload $(ARGS)

docs: ## generate the pages that are made from the code
	@$(PY) -m salver.config.page > docs/configuration.md

sanitize: TOOLS := valgrind:valgrind
sanitize: system setup ## look for memory errors and leaks in the compiled modules
	@PYTHONMALLOC=malloc $(PY) tests/wire/http2_memory_check.py
	@$(PY) -m tests.fuzz.sanitized $(ARGS)

clean: ## remove what was built
	@rm -rf build dist .cache src/*.egg-info src/salver/codecs/messages.binpb
	@find src -name '*.so' -delete -o -name '*.c' -delete -o -name '*.cpp' -delete
