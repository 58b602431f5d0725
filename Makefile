# make demo   set everything up, open napari with the sample patient and the default model
# make test   set everything up, run the test suite
# make test PATIENCE=9   the same on a busy machine: time-outs of the tests are so many times as long
# make fuzz   spoil inputs for FUZZ_MINUTES (5) and say what broke; FUZZ=--seed 7 --targets png
# make docs   build the documentation site into site/, strictly; needs no network once it is set up
# make wheel  build both wheels (the program, and the larger models) and the source distribution into dist/, and check them
# make wheel-test  the same, install them into an empty environment and use them there (slow)
# make audit  look for known weaknesses and unwanted licences among the dependencies; needs pipx and the network
# CONSTRAINTS=   install the newest versions, not those that were tested together; or another file of versions
# TORCH_INDEX=https://download.pytorch.org/whl/cpu   install torch from another index (a CPU-only build)

PYTHON ?= python3
VENV ?= .venv
FUZZ_MINUTES ?= 5
FUZZ ?=
TORCH_INDEX ?=
CONSTRAINTS ?= constraints.txt
PATIENCE ?= 3# its own four parts keep two cores busy
SCREEN = -screen 0 1600x1000x24
STAMP = $(VENV)/.installed
BIN = $(VENV)/bin
GUI = tests/gui
LONG = $(addprefix $(GUI)/test_,comparison.py first_minutes.py robustness.py settings.py train.py train_runs.py)
SHORT = $(filter-out $(LONG),$(wildcard $(GUI)/test_*.py))
HALF = $(addprefix tests/,benchmarks cli preparing runs store training)
part = xvfb-run -a -n $(1) -s "$(SCREEN)" $(BIN)/python -m pytest $(2) -p no:cacheprovider $(PYTEST)
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
CONSTRAINED = $(if $(strip $(CONSTRAINTS)),--constraint $(CONSTRAINTS))
TORCH = $(if $(strip $(CONSTRAINTS)),$(shell grep '^torch==' $(CONSTRAINTS)),torch)
LICENCES = Apache;BSD;CC0;DFSG approved;ISC;LGPL;MIT;MPL;Mozilla;PSF;Python Software Foundation

.PHONY: demo test lint fuzz docs wheel wheel-test audit docs-errors docs-inputs docs-screenshots clean

demo: $(STAMP)
	@if [ "$$(uname)" != Linux ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
		$(BIN)/napari-cead demo; \
	else \
		sh tools/system_packages.sh && \
		xvfb-run -a -s "$(SCREEN)" $(BIN)/napari-cead demo --screenshot demo.png; \
	fi

test: export NAPARI_CEAD_TEST_PATIENCE = $(PATIENCE)
test: export PYTHONDONTWRITEBYTECODE = # compiled once: many tests start processes
test: $(STAMP)
	@sh tools/system_packages.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Two cores have something to do to the end: four parts, each on a display of its own and with one thread, for
	@# processes that all want all cores are slower; and the types. What is not shown at once is shown at the end.
	@if [ "$$(uname)" = Linux ]; then \
		export OMP_NUM_THREADS=1 QT_QPA_PLATFORM=xcb; \
		$(call part,150,$(LONG)) > $(VENV)/long.log 2>&1 & long=$$!; \
		$(call part,250,$(SHORT)) > $(VENV)/short.log 2>&1 & short=$$!; \
		$(call part,450,$(HALF)) > $(VENV)/half.log 2>&1 & half=$$!; \
		$(BIN)/mypy > $(VENV)/types.log 2>&1 & types=$$!; \
		$(call part,350,tests $(addprefix --ignore ,$(GUI) $(HALF))); failed=$$?; \
		for each in $$long $$short $$half $$types; do wait $$each || failed=1; done; \
		cd $(VENV) && cat long.log short.log half.log types.log; \
		exit $$failed; \
	else \
		$(BIN)/mypy && $(BIN)/python -m pytest $(PYTEST); \
	fi

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

fuzz: $(STAMP)
	cd tests && $(abspath $(BIN))/python -m fuzz.job --minutes $(FUZZ_MINUTES) --out fuzz/figures.json $(FUZZ)

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict

$(VENV)/.docs: $(STAMP)
	@$(PIP) install $(CONSTRAINED) --editable ".[docs]"
	@touch $@

wheel: $(VENV)/.release
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m build --wheel --outdir dist packages/paper-models
	$(BIN)/python -m twine check --strict dist/*

wheel-test: wheel
	$(BIN)/python -m pytest tests/test_installation.py -m slow

$(VENV)/.release: $(STAMP)
	@$(PIP) install $(CONSTRAINED) --editable ".[release]"
	@touch $@

audit: $(STAMP)
	pipx run pip-audit --no-deps --disable-pip --requirement constraints.txt
	pipx run pip-licenses --python $(BIN)/python --from=mixed --partial-match --allow-only "$(LICENCES)"

docs-errors: $(STAMP)
	$(BIN)/python tools/errors_page.py docs/reference/errors.md

docs-inputs: $(STAMP)
	$(BIN)/python -m pytest -q tests/test_inputs.py tests/test_reported_inputs.py --write-inputs docs/reference/inputs.md

docs-screenshots: $(STAMP)
	@sh tools/system_packages.sh
	xvfb-run -a -s "$(SCREEN)" $(BIN)/python tools/screenshots.py docs/images
	xvfb-run -a -s "$(SCREEN)" $(BIN)/python tools/recording.py docs/images/drop-run-drag.webp

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name it with make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "error: Python's venv module is missing; as root, run: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=24"
	@$(if $(TORCH_INDEX),$(PIP) install --index-url $(TORCH_INDEX) $(TORCH))
	@$(PIP) install $(CONSTRAINED) --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist site demo.png
