# Every target makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: demo test test-cluster test-browser test-benchmarks lint ui docs clean

demo: $(VENV)/ready          ## a small sweep from YAML to MLflow, in minutes
	$(RUN)/stridelab sweep experiments/sweeps/biped_demo.yaml
	@echo
	@echo "Now run:  make ui   and open the address it prints."

test: $(VENV)/ready lint     ## every check, and every test that takes no cluster
	$(RUN)/python -m pytest -m "not cluster and not browser and not benchmark"

test-cluster: $(VENV)/ready  ## clusters of several nodes, and parts that are killed; minutes
	sh cluster/install-postgres.sh
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	$(RUN)/python -m pytest -m "cluster or faults" -rs

test-browser: $(VENV)/ready  ## pages and the web viewer, clicked through in headless Chromium
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	$(RUN)/python -m pytest -m browser -rs

test-benchmarks: $(VENV)/ready  ## has anything become slower? minutes, on a machine that does nothing else
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(RUN)/python -m pytest tests/benchmarks -m benchmark -rs

lint: $(VENV)/ready          ## format, lint, types, spelling
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/codespell

ui: $(VENV)/ready            ## the MLflow UI on this machine
	$(RUN)/stridelab ui

docs: $(VENV)/docs-ready     ## this documentation as pages, in build/docs
	$(RUN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "open build/docs/index.html"

clean:                       ## forget the environment (runs are kept)
	rm -rf $(VENV) build *.egg-info

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/docs-ready: $(VENV)/ready
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@
