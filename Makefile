# Everything happens in a virtual environment of its own; `make run` and `make test` create it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.relokit-installed
# What a person needs who uses it; $(STAMP) has all that its tests need, several times as much.
USED := $(VENV)/.relokit-used
ROOMS := api codegen templates linker runtime diffing cli
SOURCES := $(ROOMS) tests bench docs/site setup.py build_backend.py
NATIVE := $(wildcard $(ROOMS:=/*.[ch]) $(ROOMS:=/*/*.[ch])) codegen/base/native_sources.py
TREE := build/tree/relokit

# What the committed campaign of mutants is of (docs/mutants.md).
STATES ?= 0,9,12,15

.PHONY: run shell docs install-docs test explore check bench bench-page bench-history bench-compare tools format clean mutants sanitize dist-check docs/rules.md docs/caches.md docs/python.md docs/tutorial.md docs/time.md docs/kexec.json docs/handovers.json docs/signals.json bye-and-nothing fuzz lock audit sbom
.DELETE_ON_ERROR:

run: $(USED)  ## run the main job: relocate the demo kernel (ARGS= passes options on)
	$(BIN)/relokit run $(ARGS)

shell: $(USED)  ## a shell with relokit on its PATH
	PATH="$(abspath $(BIN)):$$PATH" $${SHELL:-/bin/sh}

docs: $(STAMP)  ## the documentation as a site in build/site, its links checked
	$(BIN)/python -m mkdocs build --strict

PREFIX ?= $(HOME)/.local
install-docs: $(USED)  ## manual pages and shell completion below PREFIX (~/.local)
	mkdir -p $(PREFIX)/share/bash-completion/completions $(PREFIX)/share/zsh/site-functions \
		$(PREFIX)/share/fish/vendor_completions.d
	$(BIN)/relokit man --copy $(PREFIX)/share/man/man1 --force > /dev/null
	$(BIN)/relokit completion bash > $(PREFIX)/share/bash-completion/completions/relokit
	$(BIN)/relokit completion zsh > $(PREFIX)/share/zsh/site-functions/_relokit
	$(BIN)/relokit completion fish > $(PREFIX)/share/fish/vendor_completions.d/relokit.fish

test: $(STAMP) tools  ## all tests, with GNU tools, QEMU and shipped kernels as oracles
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

explore: $(STAMP) tools  ## the tests of generated input, with examples that nobody has seen
	$(BIN)/python -m pytest -n auto --dist worksteal -m hypothesis --hypothesis-profile=explore $(ARGS)

fuzz: $(STAMP)  ## hostile cases for every door (ARGS="--cases 1000000 --seed 1"), as long as that takes
	cd tests && ../$(BIN)/python -m fuzz $(ARGS)

check: $(STAMP) $(TREE)  ## lint, formatting, types, and who imports whom
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	MYPYPATH=build/tree $(BIN)/mypy -p relokit
	MYPYPATH=build/tree:tests:bench $(BIN)/mypy --explicit-package-bases bench/*.py
	MYPYPATH=build/tree $(BIN)/mypy setup.py build_backend.py docs/site/hook.py
	$(BIN)/python -m pytest -p no:cacheprovider tests/test_house.py

bench: $(STAMP) tools  ## speed, side by side with GNU tools, QEMU and memcpy
	$(BIN)/python bench/suite.py $(ARGS)

bench-page: $(STAMP) tools  ## the same into docs/benchmarks.md and .json: some 20 minutes, on an idle machine
	mkdir -p build
	$(BIN)/python bench/suite.py --json $(ARGS) > build/bench.json || test $$? -eq 1
	$(BIN)/python bench/page.py build/bench.json

bench-history: $(STAMP)  ## the ratios of the last bench-page into docs/bench-history.json
	$(BIN)/python bench/history.py build/bench.json

bench-compare: $(STAMP) tools  ## this tree against BASE=COMMIT, in one run: fails if something got slower
	$(BIN)/python bench/compare.py $(ARGS) -- $(BASE)

docs/caches.md: $(STAMP)  ## its table of what three machines find, by running them
	cd tests && ../$(BIN)/python -m support.side_by_side

mutants: $(STAMP)  ## the committed campaign of mutants: some minutes; survivors are no failure here
	mkdir -p build
	$(BIN)/relokit mutate --series $(STATES) --results build/mutants.sqlite --json $(ARGS) \
		> build/mutants.json || test $$? -eq 1
	$(BIN)/python -m relokit.mutation.mutation_page docs < build/mutants.json

dist-check: $(STAMP)  ## wheel and sdist, installed by every Python here: some ten minutes; writes docs/install.md's table
	cd tests && ../$(BIN)/python -m support.dists

suites: $(STAMP) tools  ## GNU's and LLVM's own test files compared: a minute or two; writes docs/suites.*
	cd tests && ../$(BIN)/python -m support.suites

sanitize: $(STAMP) tools  ## the tests of our own C, built with the sanitizers of GCC: some minutes
	cd tests && ../$(BIN)/python -m support.sanitized $(ARGS)

docs/kexec.json: $(STAMP) tools  ## shipped kernels that kexec, in every regime: some minutes; with its table
	cd tests && ../$(BIN)/python -m support.kexecs

docs/handovers.json: $(STAMP) tools  ## QEMU and the emulator from one snapshot, every kernel and regime: half an hour; with its table
	cd tests && ../$(BIN)/python -m support.hand_overs

docs/signals.json: $(STAMP) tools  ## a thousand signals at random moments, to every command: half an hour; with its table
	cd tests && ../$(BIN)/python -m support.signalled

bye-and-nothing: $(STAMP) tools  ## the lines of docs/snapshot.md's recipe as typed, with Debian's kexec-tools: a minute or two
	cd tests && ../$(BIN)/python -m support.bye_and_nothing

docs/rules.md: $(STAMP)  ## the page of the rules, from the book
	$(BIN)/python -m relokit.runtime.judge.rules_page > $@

docs/python.md: $(STAMP)  ## its reference, from the public names
	cd tests && ../$(BIN)/python -m support.python_page

docs/tutorial.md: $(STAMP)  ## what its commands and its Python print
	cd tests && COLUMNS=80 ../$(BIN)/python -m support.tutorial_page

docs/time.md: $(STAMP)  ## the page of times with its table, and its picture
	$(BIN)/python -m relokit.timing.time_page docs

lock:  ## the newest versions that setup.cfg allows, for every Python, with their hashes, into tests/requirements.lock
	$(PYTHON) -m venv build/lock && build/lock/bin/$(PIP) $(UV)
	build/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade --extra test \
		--no-header --no-annotate --default-index https://pypi.org/simple setup.cfg -o $(LOCK)

audit:  ## whether advisories are known for what is pinned; what cannot be asked fails
	$(PYTHON) -m venv build/audit && build/audit/bin/$(PIP) $(AUDIT)
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r $(LOCK) $(ARGS)

sbom: $(STAMP)  ## what a release consists of and needs, as CycloneDX, into build/relokit.cdx.json
	mkdir -p build
	cd tests && ../$(BIN)/python -m support.sbom > ../build/relokit.cdx.json

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

tools:  ## Debian packages and kernels that the tests compare against
	tests/install-tools.sh

linker/script/grammar.json: linker/script/ldscript.lark linker/script/grammar.py | $(STAMP)
	$(BIN)/python -m relokit.linker.script.grammar > $@

OLD := import sys; sys.version_info >= (3, 11) or sys.exit("relokit needs Python 3.11 or later, and $(PYTHON) is " \
	+ "%d.%d: name another one, make PYTHON=python3.12" % sys.version_info[:2])
PIP := python -m pip install -qq --disable-pip-version-check
INSTALL := $(PYTHON) -m venv $(VENV) && $(BIN)/$(PIP)
LOCK := tests/requirements.lock
UV := uv==0.13.9
AUDIT := pip-audit==2.10.1
SETUP := setup.cfg pyproject.toml setup.py build_backend.py $(NATIVE)

$(USED): $(SETUP)
	@$(PYTHON) -c '$(OLD)'
	$(INSTALL) -e .
	touch $@

# What tests run with is pinned, file by file. Without a C compiler the build brings its own.
$(STAMP): $(SETUP) $(LOCK)
	@$(PYTHON) -c '$(OLD)'
	$(INSTALL) --require-hashes -r $(LOCK)
	$(BIN)/$(PIP) --no-deps $$(command -v cc gcc clang | grep -q . && echo --no-build-isolation) -e .
	touch $(USED) $@

# The import tree as an installation lays it out; mypy does not follow the editable mapping.
$(TREE): $(wildcard api/*)
	mkdir -p $@
	cd $@ && ln -sfn $(addprefix ../../../,$(filter-out api,$(ROOMS))) . && ln -sfn ../../../api/* .
	touch $@

clean:
	rm -rf build codegen/base/_native.so $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
