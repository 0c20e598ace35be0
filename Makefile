# One recipe per step, the same on a laptop and in CI. `make` alone lists them.
# Without make: the README shows the same steps as plain commands.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench road machines kills lock pictures docs-check reference clean environment environment-313 tools test-311 test-313

PYTHON ?= $(shell infra/find_python 3.11 3.12 3.13 || echo python3)
PYTHON_313 ?= $(shell infra/find_python 3.13)
BIN := .venv/bin

# What runs on 3.13 too (icechunk 2.x, newer NumPy and Zarr): the packages whose dependencies differ there. The others
# depend on the standard library and on pure-Python packages of one version.
SUITES_313 := tests/store tests/wells

help: ## list the recipes
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: environment ## back up, restore and re-analyse a well; WELL=gas.csv DRILLING=drilling.csv for a real one
	@$(PYTHON) infra/fetch_tools.py demo
	@$(BIN)/python infra/demo.py $(if $(WELL),--well "$(WELL)") $(if $(DRILLING),--drilling "$(DRILLING)")

test: environment tools lint test-311 test-313 ## all checks and all tests, from nothing

lint: environment ## ruff, mypy strict, the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests infra benchmarks
	$(BIN)/lint-imports
	$(BIN)/python infra/write_reference.py --check

test-311: environment tools
	$(BIN)/python -m pytest -n 3 --dist loadfile --durations=25 $(PYTEST)

test-313: environment-313 tools
ifneq ($(PYTHON_313),)
	.venv313/bin/python -m pytest -n 3 --dist loadfile $(SUITES_313) $(PYTEST)
else
	@echo "no Python 3.13 on this machine: its part of the tests did not run"
endif

road: environment tools ## two sites in network namespaces: what the road between them outlasts, as a table; ROAD="-k line" for less
	NIGHTWELL_TEST_ROAD=whole $(BIN)/python -m pytest -n 0 -q tests/lines $(ROAD)

machines: environment tools ## virtual servers that are emulated machines: every clause, a backup, a restore, a killed run
	NIGHTWELL_TEST_MACHINES=whole $(BIN)/python -m pytest -n 0 -q --durations=0 -k "machine or qemu" \
		tests/servers tests/sites/test_virtual_servers.py $(MACHINES)

bench: environment ## the backup beside other tools, 2 GiB; BENCH="--size 256MiB" for less
	@$(PYTHON) infra/fetch_tools.py bench
	$(BIN)/python benchmarks/backup.py $(BENCH)

kills: environment ## kill every part at every step of a run, and see that nothing is left; KILLS="--sample 30" for less
	@$(PYTHON) infra/fetch_tools.py test $(if $(findstring engine qemu,$(KILLS)),guest)
	PYTHONPATH=tests $(BIN)/python -m kills $(KILLS)

reference: environment ## write docs/settings.md and docs/cli.md from the code
	$(BIN)/python infra/write_reference.py

pictures: environment tools ## draw the pictures of docs/two-sites.md again, from real pages in a real browser
	NIGHTWELL_TEST_PICTURES=docs/images $(BIN)/python -m pytest -q tests/flows/test_ui.py

docs-check: environment ## links, settings, commands and flows in docs/ against the code
	$(BIN)/python -m pytest -q tests/architecture

lock: environment ## resolve the dependencies again, for Python 3.11 to 3.13
	$(BIN)/uv pip compile $(LOCK_OPTIONS) infra/bootstrap.in --output-file infra/bootstrap.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --all-extras --group build --group test --group lint pyproject.toml \
		--output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --override benchmarks/benji-overrides.txt benchmarks/benji.in \
		--output-file benchmarks/benji.lock
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --quiet \
	--custom-compile-command "make lock"

environment:
	@$(PYTHON) infra/set_up.py

environment-313:
ifneq ($(PYTHON_313),)
	@$(PYTHON_313) infra/set_up.py --venv .venv313
endif

tools:
	@$(PYTHON) infra/fetch_tools.py test

clean: ## delete what the recipes made, not your settings
	rm -rf .venv .venv313 .venv-bench .tools out demo-out bench-out build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
