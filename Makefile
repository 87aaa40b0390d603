# The two commands a newcomer needs are `make demo` and `make test`; everything else is for people who change the code.
PYTHON ?= python3
# On Linux without an NVIDIA GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu spares gigabytes of CUDA packages.
TORCH_INDEX ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test slow lint install clean

install: $(STAMP)

# torch is named in the same pip command as everything else, with its exact version in constraints.txt: pip would
# otherwise swap a CPU build for gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch -e '.[test,lint]'
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

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist
