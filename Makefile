# Every target sets itself up: a virtual environment in .venv with the locked, hashed dependencies. `make demo` installs
# what runs (requirements.lock); every other target adds what develops (requirements-dev.lock).
PYTHON ?= python3
BIN := .venv/bin
RUNS := .venv/.runs
READY := .venv/.ready
# Compiled modules are kept whatever the environment says: every replica that a test starts would compile them anew.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: setup demo test test-long coverage compose-test lint check bench bench-peers capacity attacks chaos autoscale stages strategies forecast affinity outage recoveries side-by-side geography saturation faults mutants screenshots configuration lock clean

setup: $(READY)

# The checkout is put on Python's path and .venv/bin/pllm written here, because an editable install needs a build backend.
$(RUNS): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv --clear .venv
	@echo "Installing $$(grep -c == requirements.lock) packages into .venv ..."
	@$(INSTALL) -r requirements.lock
	@echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pllm.pth"
	@printf '#!/bin/sh\nexec "%s" -P -m gateway "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/pllm
	@chmod +x $(BIN)/pllm
	@touch $@

$(READY): $(RUNS) requirements-dev.lock
	@echo "Installing the development tools, up to $$(grep -c == requirements-dev.lock) packages, into .venv ..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

demo: $(RUNS)
	exec $(BIN)/pllm demo $(ARGS)

# In the order of the folders: the long modules of tests/cluster begin first, and no worker is left alone with one at the end.
test: check
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

# What takes minutes, then the other tests once more to measure what they cover.
test-long: lint
	$(BIN)/python -m pytest -m long
	$(MAKE) coverage

# Which statements and branches the tests run, in the processes that they start as well: writes docs/coverage.md, lists the
# files from the least covered one on, and fails below the `fail_under` of pyproject.toml.
coverage: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"
	$(BIN)/coverage combine --quiet
	$(BIN)/python -m tests.coverage_report docs/coverage.md
	$(BIN)/coverage report --skip-covered --sort=cover

# A real Docker engine: what clients of the compose file's cluster lose while it is troubled. Where Compose v2 and 1.29
# are both installed, ARGS="--compose v1" takes the older one.
compose-test: $(READY)
	$(BIN)/python deploy/compose/check.py $(ARGS)

lint: check
	$(BIN)/python -m pytest -q tests/test_layers.py tests/lua/test_scripts_compile.py

# Those tests are among `make test`'s own.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m loadtest.bench $(ARGS)

# Ours beside other gateways, each installed from its package into .peers/; ARGS="--quick" tells whether all of it works.
bench-peers: $(READY)
	$(BIN)/python -m loadtest.peers $(ARGS)

# What the load generator itself can drive.
capacity: $(READY)
	$(BIN)/python -m loadtest.bench.capacity $(ARGS)

# What attacks on memory, connections and event loop do to a replica: minutes, writes docs/attacks.md; ARGS="slow idle"
# tries those whose names contain one of these words.
attacks: $(READY)
	$(BIN)/python -m loadtest.trials.attacks $(or $(ARGS),--out docs/attacks.md)

# What clients see, and what the cluster does, while something goes wrong: all scenarios, or ARGS="provider-outage".
chaos: $(READY)
	$(BIN)/python -m loadtest.trials.chaos $(or $(ARGS),all)

# A surge and its decay against a cluster that follows its own autoscaling signal.
autoscale: $(READY)
	$(BIN)/python -m loadtest.trials.autoscale --plot docs/autoscale.svg

# What the autoscaler's memory of last week does to requests and to replica-hours: a report, some minutes.
forecast: $(READY)
	$(BIN)/python -m tests.forecast_report

# What each stage of a request's way costs, in the gateway and in the store: a report.
stages: $(READY)
	$(BIN)/python -m tests.stages
	$(BIN)/python -m tests.store_costs

# The routing strategies on the same simulated traffic: takes minutes, writes docs/strategies.md.
strategies: $(READY)
	$(BIN)/python -m tests.strategies --out docs/strategies.md $(ARGS)

# What soft affinity gains and costs, on simulated conversations and over the wire: takes minutes, writes
# docs/affinity.md. ARGS="--only wire" takes one.
affinity: $(READY)
	$(BIN)/python -m tests.affinity --out docs/affinity.md $(ARGS)

outage: $(READY)
	$(BIN)/python -m loadtest.trials.outage --plot docs/outage.svg

# Which passing faults clients recover from, without the gateway and through it; ARGS="--quick" in two minutes. Claude
# Code is installed from npm into .peers/.
recoveries: $(READY)
	$(BIN)/python -m loadtest.trials.recoveries --out docs/recoveries.md $(ARGS)

# A thinking model, engines with two slots (llama.cpp among them, from its package into .peers/), a provider that stands
# still and one that is killed: direct and through.
side-by-side: $(READY)
	$(BIN)/python -m loadtest.trials.side_by_side --out docs/side-by-side.md $(ARGS)

# Two regions 80 ms apart, one with more load than it can carry: what is spilled. As root.
geography: $(READY)
	$(BIN)/python -m loadtest.trials.geography $(ARGS)

# What a machine without CPU to spare does to the shared truth.
saturation: $(READY)
	$(BIN)/python -m loadtest.trials.saturation $(ARGS)

# What each fault of the store costs: worst decision in ms, seconds until active requests are true again and until the
# replicas are back on the shared store.
faults: $(READY)
	rm -f .figures; PLLM_FIGURES=.figures $(BIN)/python -m pytest -q tests/cluster/test_store_trouble.py; cat .figures

# Which of a table of plausible mistakes the tests notice, one at a time in a copy of the tree; fails under 90 %. All of
# them take about half an hour; ARGS="limit admit" takes those whose file or consequence contains one of these words.
mutants: $(READY)
	$(BIN)/python -m tests.mutants $(ARGS)

# Pictures of the live page over a demo under load, for README.
screenshots: $(READY)
	$(BIN)/python -m tests.support.screenshots docs

# The reference of all settings and their JSON Schema, from the code.
configuration: $(READY)
	$(BIN)/python -m gateway.configuration.reference docs

# Needs uv on PATH. What is locked stays as it is; ARGS=--upgrade takes the newest of all. The locks name packages and
# hashes only, never an index; with their extras, which pip before 23.3 (Debian 12's) otherwise takes for something
# unpinned as soon as a newer release is out.
COMPILE := uv pip compile pyproject.toml --universal --generate-hashes --no-strip-extras --no-annotate \
  --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11
lock:
	$(COMPILE) --group dev -o requirements-dev.lock $(ARGS)
	$(COMPILE) --constraint requirements-dev.lock -o requirements.lock $(ARGS)

clean:
	rm -rf .venv
