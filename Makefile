# The project's commands: make run, make test; both set themselves up. make setup, lint and format are for developers.
SHELL := /bin/sh
PYTHON ?= python3
ARGS ?=
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadfile
VENV := .venv
# Waiting threads of PyTorch spin by default, which starves whatever else runs on the machine.
export OMP_WAIT_POLICY ?= PASSIVE
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt $(PIP_ARGS)

# picamera2 and libcamera come from apt on a Pi: the venv has to see them there, and nowhere else.
SYSTEM_SITE := $(if $(wildcard /usr/lib/python3/dist-packages/picamera2),--system-site-packages,)

# Bookworm's simplejpeg, which picamera2 imports, does not load beside numpy 2; the environment then gets one that does.
define mend_picamera2
@$(if $(SYSTEM_SITE),$(BIN)/python -c 'import simplejpeg' 2>/dev/null || $(PIP) 'simplejpeg>=1.9',true) \
    || echo "canopic: no simplejpeg that loads beside this numpy; the camera will not open (canopic doctor)"
endef

RUN_PACKAGES := gcc make python3-venv
TEST_PACKAGES := libcmocka-dev cppcheck clang 'libclang-rt-14-dev|libclang-rt-19-dev'

.PHONY: run test setup lint format firmware clean

run: $(VENV)/.base firmware  ## plays a scene into the twin and counts people through the real firmware
	@$(BIN)/canopic run $(ARGS)

test: setup firmware  ## every test; suites whose tools are missing are skipped by name
	@$(BIN)/python -m pytest $(PYTEST_ARGS) $(ARGS)

setup: $(VENV)/.dev  ## .venv with everything, and the Debian packages that the tests use

lint: setup  ## style, types, architecture rules, firmware
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) -C firmware format-check cppcheck protocol-check

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(MAKE) -C firmware format

firmware:
	@scripts/debian-packages need gcc make
	@$(MAKE) --no-print-directory -C firmware host

$(VENV)/bin/python:
	@scripts/debian-packages need $(RUN_PACKAGES)
	@echo "canopic: making $(VENV)"
	@$(PYTHON) -m venv $(SYSTEM_SITE) $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "canopic: installing the Python packages that the sensor needs (about a minute)"
	@$(PIP) -e .
	$(mend_picamera2)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@scripts/debian-packages want $(TEST_PACKAGES)
	@echo "canopic: installing the Python packages for tests and training (a few minutes)"
	@$(PIP) -e '.[dev]'
	$(mend_picamera2)
# picamera2's own code, without the libcamera that it needs, to hold the camera's twin and driver against; a Pi has it.
	@$(if $(SYSTEM_SITE),true,$(PIP) --no-deps picamera2) || echo "canopic: no picamera2; the tests against its code are skipped"
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	-$(MAKE) -C firmware clean
