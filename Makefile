# The two commands a newcomer needs are `make demo` and `make test`; everything else is for people who change the code.
PYTHON ?= python3
# On Linux without an NVIDIA GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu spares gigabytes of CUDA packages.
TORCH_INDEX ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Tests start many processes; without bytecode, each would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test slow lint style types floors coverage docs install clean

install: $(STAMP)

# torch is named in the same pip command as everything else, with its exact version in constraints.txt: pip would
# otherwise swap a CPU build for gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch -e '.[test,lint,docs]'
	touch $@

demo: $(STAMP)
	$(BIN)/autotune simulate studies/demo.yaml
	$(BIN)/autotune run studies/demo.yaml
	@echo
	@echo "The best reconstruction, as picture and HDF5, is in the folder above under trials/."
	@echo "Every trial, curve and picture:  $(BIN)/autotune ui"
	@echo "The answer as data:              $(BIN)/autotune result demo --json"

# Two at a time; the tests of a file stay together, for what they share.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: style types floors

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports

# Of the tests that run the code in their own process: tracing what others start costs more than it tells.
coverage: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report= tests/autotune tests/objectives
	$(BIN)/coverage report --skip-covered --sort=cover

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist
