# demo   a fresh machine to a talking video: outputs/demo.mp4
# test   a fresh machine to all checks: lint, types, tests
# setup  everything into .venv
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: demo test setup base clean
.DELETE_ON_ERROR:

demo: base
	mkdir -p outputs
	$(BIN)/liveportrait-talker generate examples/portrait.png examples/voice.wav -o outputs/demo.mp4 --overwrite

test: setup
	$(BIN)/ruff check src tests scripts inference.py train.py
	$(BIN)/ruff format --check src tests scripts inference.py train.py
	$(BIN)/mypy
	$(BIN)/python -m pytest

setup: $(VENV)/.test $(VENV)/.neural $(VENV)/.train $(VENV)/.ui
base: $(VENV)/.base

# The base install holds no torch. --no-deps: requirements/base.txt says why.
$(VENV)/.base: requirements/base.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "Python 3.10 to 3.12 is needed, $$($(PYTHON) --version) found: make PYTHON=python3.11 …"; exit 2; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps -r requirements/base.txt "setuptools>=77" wheel
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: $(VENV)/.base requirements/test.txt
	$(PIP) --no-deps -r requirements/test.txt
	touch $@

$(VENV)/.neural: $(VENV)/.base requirements/neural.txt
	$(PIP) -r requirements/neural.txt
	touch $@

$(VENV)/.train: $(VENV)/.neural requirements/train.txt
	$(PIP) -r requirements/train.txt -c requirements/base.txt
	touch $@

# The page is tested in Debian's Chromium; where it cannot be installed, these tests are skipped and say so.
$(VENV)/.ui: $(VENV)/.train requirements/ui.txt
	$(PIP) --no-deps -r requirements/ui.txt
	command -v chromium >/dev/null || { apt-get -q update && apt-get -qy install --no-install-recommends chromium; } \
	  || echo "there is no Chromium: tests of the page in a browser will be skipped"
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
