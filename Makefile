# One line per target: `make help`. Plain make and Python 3.11; docker only for the container targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
PY := $(VENV)/bin/python
DEMO_MODEL := data/models/whisper-demo-ru

# PyTorch's CPU build is a tenth of the CUDA one; without an NVIDIA card it is taken from PyTorch's
# own index when that answers. TORCH_INDEX= (empty) takes whatever pip finds by itself.
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || \
	$(PYTHON) -c "import urllib.request as u; u.urlopen('https://download.pytorch.org/whl/cpu/torch/', timeout=5); print('https://download.pytorch.org/whl/cpu')" 2>/dev/null)

.PHONY: help setup demo start update_env_file test test_slow check bench evaluate_model

help: ## this list
	@grep -hE '^[a-zA-Z_]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  %-22s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## install everything into .venv (torch first)

$(VENV)/.ready: req_backend.txt req_frontend.txt req_llm.txt req_dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) \
		"$$(grep '^torch==' req_llm.txt)"
	$(PY) -m pip install -q --disable-pip-version-check \
		-r req_llm.txt -r req_backend.txt -r req_frontend.txt -r req_dev.txt
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

test: setup ## every quick test, with real services on free ports
	$(PY) -m pytest -q -m "not slow"

test_slow: setup ## the tests that take minutes
	$(PY) -m pytest -q -m slow

check: setup ## format, lint, types, direction of imports
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: setup ## every benchmark in its short form; each one: python -m bench.NAME --help
	@for name in seed dsp memory; do echo "== bench.$$name"; $(PY) -m bench.$$name || exit 1; done

evaluate_model: setup ## word error rates and times of the embedded model
	$(PY) -m training.evaluate
