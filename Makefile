# One line per target: `make help`. Plain make and Python 3.11; docker only for the container targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
PY := $(VENV)/bin/python
DEMO_MODEL := data/models/whisper-demo-ru

TORCH_INDEX_GIVEN := $(filter-out undefined,$(origin TORCH_INDEX))
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_CUDA_INDEX := https://download.pytorch.org/whl/cu130

# PyTorch's CPU build is a tenth of the CUDA one; without an NVIDIA card it is taken from PyTorch's
# own index when that answers. TORCH_INDEX= (empty) takes whatever pip finds by itself.
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || \
	$(PYTHON) -c "import urllib.request as u; u.urlopen('$(TORCH_CPU_INDEX)/torch/', timeout=5); print('$(TORCH_CPU_INDEX)')" 2>/dev/null)

# Tests wait more than they compute: one process more than there are cores, at most four.
TEST_PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4)))

# Containers. DOCKER=podman works as well; BUILD_FLAGS="--no-cache --pull" and the like reach every
# build. CUDA=1 builds the model service for an NVIDIA card and gives it the card. ALIAS_PORT=8003
# publishes the backend there too.
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
BUILD_FLAGS ?=
CUDA ?=
export ALIAS_PORT ?=
START_TIMEOUT_S ?= 3600
export IMAGE_PREFIX ?= stenograf
COMPOSE_FILES := -f docker-compose.yaml $(if $(CUDA),-f deploy/compose.gpu.yaml) \
	$(if $(ALIAS_PORT),-f deploy/compose.alias.yaml)
RUN_COMPOSE := $(COMPOSE) $(COMPOSE_FILES)
BUILD := $(DOCKER) build $(BUILD_FLAGS)
MODEL ?=

.PHONY: help setup demo start update_env_file test test_failed test_slow check native bench evaluate_model \
	build_base_image build_torch_image build_frontend_image build_backend_image build_llm_image \
	build_images up down drop_images clean full_start full_stop full_restart \
	download_model lock_requirements sbom lint_containers test_containers

help: ## this list
	@grep -hE '^[a-zA-Z_]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  %-22s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## install everything into .venv (torch first)

$(VENV)/.ready: req_backend.txt req_frontend.txt req_llm.txt req_onnx.txt req_dev.txt pyproject.toml \
		deploy/requirements/telegram.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo >&2 \
		"Python 3.11 or newer is needed: apt install python3.11-venv, or make PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) \
		"$$(grep '^torch==' req_llm.txt)"
	$(PY) -m pip install -q --disable-pip-version-check \
		-r req_llm.txt -r req_onnx.txt -r req_backend.txt -r req_frontend.txt -r req_dev.txt
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
		-r deploy/requirements/telegram.lock
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null \
		|| $(PY) -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

demo: setup ## transcribe two shipped recordings end to end with the embedded demo model
	$(PY) -m stenograf.demo

start: setup ## the three services on this machine, page at http://localhost:8010 (Ctrl-C stops)
	PYTHON=$(PY) runners/start.sh

update_env_file: ## make .env from env.example; an existing .env is never touched
	@if [ -e .env ]; then echo ".env is already there, left as it is"; \
	else cp env.example .env && echo ".env made from env.example"; fi

test: setup ## every quick test, with real services on free ports; a file's tests one after the other
	$(PY) -m pytest -q -n $(TEST_PROCESSES) --dist loadfile -m "not slow and not containers"

test_failed: setup ## only what the last make test failed, one after the other
	$(PY) -m pytest -q --last-failed --last-failed-no-failures none -m "not slow and not containers"

test_slow: setup ## the tests that take minutes
	$(PY) -m pytest -q -m "slow and not containers"

check: setup ## format, lint, types, direction of imports
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

native: setup ## compile the native engine of the model service (make setup did, if there is a compiler)
	$(PY) -m stenograf.llm.native.build

bench: setup ## every benchmark in its short form; each one: python -m bench.NAME --help
	@for name in seed dsp memory; do echo "== bench.$$name"; $(PY) -m bench.$$name || exit 1; done

evaluate_model: setup ## word error rates and times of the embedded model
	$(PY) -m training.evaluate

build_base_image: ## Debian, Python, a user without rights
	$(BUILD) -t $(IMAGE_PREFIX)-base -f deploy/Dockerfile_base .

build_torch_image: build_base_image ## PyTorch on the base: CPU build, CUDA=1 for NVIDIA
	$(BUILD) -t $(IMAGE_PREFIX)-torch -f deploy/Dockerfile_torch \
		--build-arg BASE_IMAGE=$(IMAGE_PREFIX)-base:latest \
		--build-arg TORCH_VERSION=$$(sed -n 's/^torch==\([^ ]*\).*/\1/p' req_llm.txt) \
		--build-arg TORCH_INDEX="$(if $(TORCH_INDEX_GIVEN),$(TORCH_INDEX),$$(DOCKER=$(DOCKER) \
			deploy/torch_index.sh $(if $(CUDA),$(TORCH_CUDA_INDEX),$(TORCH_CPU_INDEX)) \
			$(IMAGE_PREFIX)-base:latest))" .

build_llm_image: build_torch_image ## the model service, with the embedded demo model
	$(BUILD) -t $(IMAGE_PREFIX)-llm -f deploy/Dockerfile_llm \
		--build-arg TORCH_IMAGE=$(IMAGE_PREFIX)-torch:latest .

build_backend_image build_frontend_image: build_%_image: build_base_image
	$(BUILD) -t $(IMAGE_PREFIX)-$* -f deploy/Dockerfile_$* \
		--build-arg BASE_IMAGE=$(IMAGE_PREFIX)-base:latest .
build_backend_image: ## the backend
build_frontend_image: ## the page

build_images: build_llm_image build_backend_image build_frontend_image ## every image

up: update_env_file ## start the three containers, wait until the page answers
	@COMPOSE="$(RUN_COMPOSE)" START_TIMEOUT_S=$(START_TIMEOUT_S) deploy/start.sh

down: ## stop and remove the containers; recordings, texts and models stay
	$(RUN_COMPOSE) down

drop_images: ## remove the images built here, and no other
	@for name in llm torch backend frontend base; do \
		if $(DOCKER) image inspect $(IMAGE_PREFIX)-$$name >/dev/null 2>&1; then \
			$(DOCKER) rmi $(IMAGE_PREFIX)-$$name || exit 1; fi; done

clean: ## remove leftovers of our own builds and the caches of our tools
	$(DOCKER) image prune --force --filter label=io.stenograf.image
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

full_start: update_env_file build_images ## build everything, start, print the address of the page
	@$(MAKE) --no-print-directory up

full_stop: ## stop, remove the images and leftovers; recordings, texts and models stay
	@$(MAKE) --no-print-directory down
	@$(MAKE) --no-print-directory drop_images
	@$(MAKE) --no-print-directory clean

full_restart: ## full_stop, then full_start
	@$(MAKE) --no-print-directory full_stop
	@$(MAKE) --no-print-directory full_start

download_model: build_llm_image ## fetch MODEL (default: the one in .env) into data/models, to carry along
	$(DOCKER) run --rm --user "$$(id -u):$$(id -g)" --volume "$(CURDIR)/data/models:/app/data/models:z" \
		--env LOCAL_LLM_MODEL="$$(sed -n 's/^LOCAL_LLM_MODEL=//p' .env 2>/dev/null | tail -1)" \
		$(IMAGE_PREFIX)-llm python -m stenograf.models pull $(MODEL)

lock_requirements: setup ## pin every package of the images with hashes
	UV=$(VENV)/bin/uv deploy/lock_requirements.sh

sbom: setup ## bills of materials of the images' packages (CycloneDX) into build/
	@mkdir -p build
	@for name in torch llm backend frontend; do \
		$(VENV)/bin/cyclonedx-py requirements deploy/requirements/$$name.lock \
			--output-reproducible -o build/sbom-$$name.json && echo build/sbom-$$name.json; done

lint_containers: setup ## hadolint, shellcheck and the compose schema
	$(VENV)/bin/hadolint --config deploy/hadolint.yaml deploy/Dockerfile_*
	$(VENV)/bin/shellcheck deploy/*.sh runners/*.sh .ci/run
	npx --yes dclint@3.1.0 -c deploy/dclint.yaml docker-compose.yaml deploy/compose.*.yaml

test_containers: setup ## build, run, stop, kill and restart the containers for real
	$(PY) -m pytest -q -m containers --timeout 1800 tests/containers
