# The only words that continuous integration uses. PYTHON is the interpreter that makes the environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin


.PHONY: demo test test-tensorflow test-torch lint types docs pictures bench install format constraints clean

demo: install
	$(BIN)/convae demo

# A process for each core; the tests of a file stay together, since they share what is compiled.
test: install
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The other backends, each in an environment of its own.
BACKEND_TESTS := $(addprefix tests/test_,backends.py build.py estimator.py layers.py losses.py optimizers.py refine.py train.py distort.py unet.py \
	codec.py::test_what_is_trained_costs_what_the_integers_code \
	codec.py::test_integers_decode_as_the_network_does)

test-tensorflow: .venv-tensorflow/installed
	KERAS_BACKEND=tensorflow .venv-tensorflow/bin/python -m pytest $(BACKEND_TESTS)

test-torch: .venv-torch/installed
	KERAS_BACKEND=torch .venv-torch/bin/python -m pytest $(BACKEND_TESTS) \
		tests/test_benchmarks.py::test_the_torch_loop_trains_the_reference_network

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

docs: install
	$(BIN)/sphinx-build -E -W --keep-going -n -b html docs docs/_build

# Those of the first page; they need the data that docs/pictures.py names.
pictures: install
	$(BIN)/python docs/pictures.py

# The one that is left out needs a GPU.
bench: install .venv-tensorflow/installed .venv-torch/installed .venv-pyod/installed \
		.venv-bm3d/installed .venv-pythae/installed
	for script in $(filter-out benchmarks/gpu_training.py,$(wildcard benchmarks/*.py)); do \
		$(BIN)/python $$script || exit 1; done

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv-tensorflow/installed: pyproject.toml constraints-tensorflow.txt
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/python -m pip install --quiet --require-hashes -r constraints-tensorflow.txt
	.venv-tensorflow/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# PyTorch comes in several builds of one version, so its hash is not pinned.
.venv-torch/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --require-hashes -r constraints.txt
	.venv-torch/bin/python -m pip install --quiet "torch==2.13.0"
	.venv-torch/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# A peer of benchmarks/anomaly.py; it brings a compiler, and no test needs it.
.venv-pyod/installed:
	$(PYTHON) -m venv .venv-pyod
	.venv-pyod/bin/python -m pip install --quiet "torch==2.13.0" "pyod==3.6.7" tqdm
	touch $@

# A peer of benchmarks/generation.py.
.venv-pythae/installed:
	$(PYTHON) -m venv .venv-pythae
	.venv-pythae/bin/python -m pip install --quiet "torch==2.13.0" "pythae==0.1.2"
	touch $@

# A peer of benchmarks/denoising.py; its license allows no commercial use.
.venv-bm3d/installed:
	$(PYTHON) -m venv .venv-bm3d
	.venv-bm3d/bin/python -m pip install --quiet "bm3d==4.0.3"
	touch $@

# Writes exact pins with hashes for every platform; needs uv (pip install uv).
PIN := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate
constraints:
	$(PIN) --extra dev pyproject.toml -o constraints.txt
	$(PIN) --extra tensorflow --extra test pyproject.toml -o constraints-tensorflow.txt

clean:
	rm -rf $(VENV) .venv-tensorflow .venv-torch .venv-pyod .venv-bm3d .venv-pythae \
		docs/_build .pytest_cache .mypy_cache .ruff_cache
