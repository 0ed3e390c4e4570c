# make figures     environment, default dataset, training, every figure and table, below runs/
# make test        the whole suite; notebooks run in profile smoke
# make test-full   notebooks run in profile quick, and are compared with what is committed
# make publish     takes the results of runs/ over into figures/, notebooks/, README and docs/
# make benchmark   speed of every engine, 25 minutes to an hour; PEERS=<folder with OpenCV's weights>
# make docs        the site, runs/site/index.html      make lab   JupyterLab
# PROFILE=quick|thesis|laptop|smoke   DATA=<dataset folder>   SPLIT=photo|session   SEED=0
# TORCH_INDEX=<address>: an index with CPU builds of PyTorch, which lack 4 GB of CUDA libraries
# FIGURES_LANGUAGE=ru: figures and tables in Russian, below runs/figures/ru
# EPOCHS, BATCH: in place of the profile's
# TARGET=<dataset folder>: new people for Experiment 2, in place of synthetic ones
# PHOTOS=<folder with a folder of photos per person, or its archive>: made into the dataset
# data/<its name> first; IMPORT="--min-photos 2": options of `python -m thesislib data folder`
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROFILE ?= quick
SPLIT ?= photo
SEED ?= 0
# Paths may hold any letter: make is to take none of them for its own, and the shell is given them
# by name alone.
override PHOTOS := $(value PHOTOS)
override IMPORT := $(value IMPORT)
override DATA := $(value DATA)
override TARGET := $(value TARGET)
override PEERS := $(value PEERS)
export PROFILE PHOTOS IMPORT DATA SPLIT SEED EPOCHS BATCH TARGET PEERS FIGURES_LANGUAGE TORCH_INDEX
# Threads that wait for work sleep soon, so that a training beside other work is not many times slower.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 10000
endif

BIN := .venv/bin
# PyTorch of another index has no need of the CUDA libraries in the lock file.
TORCH = $$(grep -E '^(torch|torchvision)==' requirements.lock)
LOCK = $(if $(TORCH_INDEX),grep -vE '^(nvidia-|cuda-|triton==)',cat) requirements.lock
# In a process of their own: OpenVINO and ONNX Runtime beside dlib, numba and faiss crashed once.
ENGINES := tests/engines
# Two workers; the tests of a file stay with one. Notebooks share nets, so one runs after the other.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
PLAIN := env -u PHOTOS -u DATA -u EPOCHS -u BATCH -u TARGET -u FIGURES_LANGUAGE SPLIT=photo SEED=0 TQDM_DISABLE=1
NBVAL := --nbval-current-env --nbval-kernel-startup-timeout 600 notebooks
# The environment is known by the content of what it is made from.
READY := .venv/.ready-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)

.PHONY: figures test test-full publish benchmark lab env docs lock clean
figures: $(READY)
	@test -z "$$PHOTOS" || $(BIN)/python dodo.py
	@$(BIN)/doit

test: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(PLAIN) OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) tests thesislib --ignore=$(ENGINES)
	@$(PLAIN) $(BIN)/python -m pytest $(WORKERS) $(ENGINES)
	@$(PLAIN) PROFILE=smoke $(BIN)/python -m pytest --nbval-lax $(NBVAL)

test-full: test
	@$(PLAIN) PROFILE=quick $(BIN)/python -m pytest --nbval $(NBVAL)

publish: $(READY)
	@$(BIN)/python -m thesislib publish

benchmark: $(READY)
	@TQDM_DISABLE=1 $(BIN)/python -m thesislib benchmark --seed "$$SEED" $${PEERS:+--peers "$$PEERS"}

lab: $(READY)
	@$(BIN)/jupyter lab --KernelManager.transport_encryption=auto --ServerApp.root_dir="$$PWD" --LabApp.default_url=/lab/tree/notebooks

env: $(READY)

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + '; say make PYTHON=<path of such a one>')"
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@test -z "$$TORCH_INDEX" || $(BIN)/uv pip install --quiet --python $(BIN)/python --index-url "$$TORCH_INDEX" $(TORCH)
	@$(LOCK) > .venv/requirements.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r .venv/requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@rm -f .venv/.ready-* && touch $@

# The site: runs/site/index.html, read without a network. A warning is an error.
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# After a change of pyproject.toml: exact versions, no addresses.
lock:
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  --quiet --output-file requirements.lock pyproject.toml

clean:
	rm -rf runs data/synthetic .doit.db
