# Everything happens in .venv; `make demo` and `make test` need nothing but Python 3.11 or newer and a network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Idle threads of torch otherwise spin: two kernels on two cores then take about ten times as long.
export OMP_WAIT_POLICY ?= passive
INSTALLED := $(VENV)/.installed
DEVELOPER := $(VENV)/.developer
SITE := $(VENV)/.site
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --upgrade-strategy only-if-needed -c constraints.txt

.PHONY: demo test lab lint format bench faults mutants constraints site clean

demo: $(INSTALLED) ## draw heads, recognise, explain: build/demo/index.html
	$(BIN)/tsfmicro-lab demo --out build/demo

test: $(DEVELOPER) lint ## everything that CI checks
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile # a thread each

lab: $(INSTALLED) ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

lint: $(DEVELOPER)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/test_budget.py # prints how large the library is; the test of that name sets the limit
	$(BIN)/deptry .

format: $(DEVELOPER)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout --extra-keys "metadata.papermill cell.metadata.papermill cell.metadata.execution" notebooks/*.ipynb

bench: $(DEVELOPER) ## benchmarks: two ways in one run
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only

faults: $(DEVELOPER) ## kills, full disks, flipped bits: many times each
	$(BIN)/python tests/faults/injection.py --times 40

mutants: $(DEVELOPER) ## small changes to modules: do their tests notice? An hour
	$(BIN)/pip install --quiet cosmic-ray
	$(BIN)/python tests/mutants.py

constraints: $(SITE) ## write down what is installed; the local version of torch exists on no registry
	$(BIN)/pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' > constraints.txt

site: $(SITE) ## the pages, with executed lessons and checked links: build/site/html/index.html
	$(BIN)/python docs/site/build.py

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e ".[recordings]"
	touch $@

$(SITE): $(DEVELOPER)
	$(INSTALL) -e ".[site]"
	touch $@

$(DEVELOPER): $(INSTALLED) # linters, test tools, nbgrader, dask: what only tests and teachers need
	$(INSTALL) -e ".[dev]"
	touch $@
