# `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export DO_NOT_TRACK := true

.PHONY: setup demo run serve viz mlflow test test-slow lint promises bench clean

setup: $(VENV)/.installed ## create the environment and install

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup run ## install, run all pipelines on the simulated ledger, say where to look
	@echo
	@echo "Model card    data/08_reporting/simulated/model_card.html   (open it in a browser)"
	@echo "MLflow        make mlflow   then http://127.0.0.1:5000"
	@echo "Kedro-Viz     make viz      then http://127.0.0.1:4141"

run: setup ## all pipelines on the simulated ledger
	$(BIN)/kedro run

serve: setup ## scores over HTTP and a page to look at them, from what the last run left; http://127.0.0.1:8080
	$(BIN)/python -m panther_pipeline.serving

viz: setup ## the pipelines in a browser
	$(BIN)/kedro viz run --no-browser

mlflow: setup ## the runs in a browser
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1

lint: setup ## style, banned calls, layer rules
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/lint-imports

test: setup lint ## every test of a commit
	$(BIN)/pytest -m "not slow" --numprocesses=2 --dist=loadfile

test-slow: setup ## what takes longer
	$(BIN)/pytest -m slow

promises: setup ## one line per promise: figure and target
	$(BIN)/pytest tests/promises -s -q

bench: setup ## speed of the simulator; benchmarks/ has more, each says how to run it; results go to benchmarks/results/
	$(BIN)/python benchmarks/bench_simulate.py

clean: ## remove what runs wrote; keep the environment and data/01_raw
	rm -rf data/0[2-8]_*/* mlflow.db mlruns .pytest_cache .ruff_cache .import_linter_cache .viz
