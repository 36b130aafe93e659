# Everything runs in .venv. The first target that needs it sets it up; it is left alone while it is current.
#
#   PYTHON   the interpreter to make it with: make test PYTHON=python3.13
#   VENV     where it is, to keep two side by side: make test PYTHON=python3.13 VENV=build/venv-3.13
#   ARGS     arguments for the command behind a target: make test ARGS="-k name"

PYTHON ?= python3
VENV = .venv
ARGS ?=
run := $(VENV)/bin/python
parallel := -n auto --dist worksteal

.PHONY: help demo test test-all test-python-parser coverage chaos examples soak fuzz secrets green-check lint format format-check types wheel bench ci clean tools
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*##  *' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' Makefile
	@echo 'Pass arguments with ARGS="...", choose the interpreter with PYTHON=python3.13'

# Set-up. A stamp belongs to one interpreter and one place, so another PYTHON and a moved checkout are noticed.

key := $(shell printf '%s' "$(PYTHON) $(CURDIR)" | cksum | tr ' ' '-')
package := $(VENV)/.package-$(key)
tools := $(VENV)/.tools-$(key)

# sh, with four arguments: the interpreter, what to install, the environment, the stamp.
define SETUP
fail() { echo "set-up: $$1" >&2; exit 1; }
log=build/set-up.log
wanted='3.11 or newer is needed, name one: PYTHON=/path/to/python3'
mkdir -p build && : >$$log || fail "cannot write to $$log"

command -v "$$1" >/dev/null || fail "there is no $$1; Python $$wanted"
which='import sys; print("%d.%d.%d in %s" % (sys.version_info[:3] + (getattr(sys, "base_prefix", sys.prefix),)))'
found=$$("$$1" -c "$$which" 2>>$$log) || fail "$$1 does not run (see $$log); Python $$wanted"
"$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$$1 is Python $${found%% *}; $$wanted"

if [ "$$("$$3/bin/python" -c "import pip; $$which" 2>>$$log)" != "$$found" ]; then
    "$$1" -c 'import venv, ensurepip' 2>>$$log ||
        fail "$$1 has no venv or no ensurepip; on Debian and Ubuntu, install the package python3-venv"
    echo "Setting up $$3 with Python $${found%% *}"
    "$$1" -m venv --clear "$$3" >>$$log 2>&1 || fail "$$1 could not make $$3 (see $$log)"
fi

echo "Installing $$2 into $$3, which takes about half a minute"
if ! "$$3/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -e "$$2" >>$$log 2>&1; then
    if grep -q 'No space left on device' $$log; then
        fail "the disk is full (see $$log)"
    elif grep -qiE 'name resolution|new connection|connection (refused|reset|broken|aborted)|timed out|unreachable|proxy|certificate' $$log; then
        fail "the package index cannot be reached: check network, proxy and certificates (see $$log)"
    fi
    fail "pip could not install $$2: $$(grep -o 'ERROR: .*' $$log | head -n 1 | cut -c 8-160) (see $$log)"
fi
touch "$$4"
endef
export SETUP

$(package): pyproject.toml
	@if [ $(tools) -nt $< ]; then touch $@; else sh -c "$$SETUP" set-up "$(PYTHON)" '.[cli]' $(VENV) $@; fi

$(tools): pyproject.toml
	@sh -c "$$SETUP" set-up "$(PYTHON)" '.[dev]' $(VENV) $@

tools: $(tools)  ## set up .venv with all tools

# For users.

demo: $(package)  ## load-test a simulator with 300 conversations, and write build/load.html
	@mkdir -p build
	@$(run) -m akapulu_async load --simulator --conversations 300 --rate 20 --hold 2 --report build/load.html

examples: $(package)  ## run every example against the embedded simulator
	@set -e; for example in examples/*.py; do echo "-- $$example"; $(run) "$$example" --simulator; done

bench: $(tools)  ## run the benchmarks, in about nine minutes, on a machine that does nothing else
	@echo '== A poll, side by side with loops written by hand'
	@$(run) benchmarks/poll.py --json build/bench/poll.json
	@echo && echo '== The session layer, without I/O'
	@$(run) benchmarks/layer.py --json build/bench/layer.json
	@echo && echo '== Sessions that one core sustains at 0.5 s'
	@$(run) benchmarks/sustained.py --json build/bench/sustained.json
	@echo && echo '== Many sessions in one manager'
	@$(run) benchmarks/manager.py --seconds 6 --json build/bench/manager.json
	@echo && echo '== How the cost grows with the number of sessions'
	@$(run) benchmarks/growth.py --json build/bench/growth.json
	@echo && echo '== Polls per conversation, and how late readiness is seen'
	@$(run) benchmarks/polling.py --sessions 20000 --chart build/bench/polling.html --json build/bench/polling.json
	@echo && echo '== The import'
	@$(run) benchmarks/imports.py --json build/bench/imports.json
	@echo && echo '== Recordings'
	@$(run) benchmarks/download.py --rounds 5 --json build/bench/download.json
	@echo && echo '== Polls that the simulator can answer'
	@$(run) benchmarks/simulator.py --json build/bench/simulator.json

soak: $(tools)  ## hold 200 sessions that turn over for 10 minutes, and check that nothing grows; ARGS="--minutes 1"
	@$(run) benchmarks/soak.py $(ARGS)

# Tests and checks. tests/sansio runs apart, as it alone must cover the core's every branch. It runs in one process:
# starting workers takes longer than the tests.

# Container images often set this; each program that a test starts would then compile the whole package again.
test test-all coverage secrets green-check: export PYTHONDONTWRITEBYTECODE :=

test: $(tools)  ## run the quick tests, in about 90 s on two cores; ARGS="tests/test_client.py -k name" runs some
ifeq ($(strip $(ARGS)),)
	@echo 'The core without I/O: tests/sansio must cover every branch of akapulu_async/sansio'
	@$(run) -m coverage erase
	@$(run) -m coverage run --source akapulu_async.sansio -m pytest -q tests/sansio
	@$(run) -m coverage combine --quiet
	@$(run) -m coverage report --fail-under=100
	@echo 'The rest of the quick tests'
	@$(run) -m pytest -q $(parallel) -m 'not slow' --ignore tests/sansio
else
	@$(run) -m pytest $(ARGS)
endif

test-all: test  ## run the slow tests too: benchmarks, long runs through faults, programs in real time
	@echo 'The slow tests'
	@$(run) -m pytest -q $(parallel) -m slow

# All that sends or answers requests; the command line starts the same calls.
test-python-parser: $(tools)  ## run the tests of calls with aiohttp's parser in Python, as where it has none in C
	@AIOHTTP_NO_EXTENSIONS=1 $(run) -m pytest -q $(parallel) -m 'not slow' $(addprefix tests/,http resources session \
	    manager properties robustness load simulator test_client.py test_observing.py)

coverage: $(tools)  ## run all tests, and print the branches that they do not cover
	@$(run) -m coverage erase
	@$(run) -m coverage run -m pytest $(parallel) $(ARGS)
	@$(run) -m coverage combine --quiet
	@$(run) -m coverage report

secrets: $(tools)  ## run all tests with everything logged, and search all output for keys and tokens
	@$(run) -m pytest $(parallel) --scan-secrets $(ARGS)

green-check: $(tools)  ## run the quick tests 5 times on this Python and on the newest, on a machine kept busy
	@$(run) -m tests.support.green_check --python "$(PYTHON)" $(ARGS)

chaos: $(tools)  ## run conversations through faults and restarts, 100 seeds; ARGS="--seed N" runs one
	@$(run) -m tests.robustness.chaotic $(ARGS)

# atheris is not in an extra: it has no wheels for some interpreters.
fuzz: $(tools)  ## fuzz the readers of answers, guided by coverage, a minute each; ARGS="--seconds 600 detail"
	@$(run) -c 'import atheris' 2>/dev/null || $(run) -m pip install --quiet --disable-pip-version-check --no-input atheris
	@$(run) -m tests.robustness.fuzzing.run $(ARGS)

lint: $(tools)  ## run the linter
	@$(run) -m ruff check $(ARGS)

format: $(tools)  ## format the sources
	@$(run) -m ruff check --quiet --fix-only
	@$(run) -m ruff format

format-check: $(tools)  ## list the sources that are not formatted
	@$(run) -m ruff format --check

types: $(tools)  ## check the types
	@$(run) -m mypy $(ARGS)

# sh, in a clean temporary environment: what a user of the wheel gets. -I keeps the checkout out of sys.path.
define WHEEL
set -e
clean=$$(mktemp -d)
trap 'rm -rf "$$clean"' EXIT
trap 'exit 130' INT TERM
"$$1" -m venv "$$clean"
"$$clean/bin/python" -m pip install --quiet --disable-pip-version-check --no-input dist/*.whl >build/wheel.log 2>&1 ||
    { tail -n 20 build/wheel.log; exit 1; }
"$$clean/bin/python" -m pip check --disable-pip-version-check
"$$clean/bin/python" -I -c '
import sys, akapulu_async
assert akapulu_async.__file__.startswith(sys.prefix), akapulu_async.__file__
parts = "akapulu_async.simulator", "akapulu_async.cli", "hdrh", "rich", "typer", "uvloop"
loaded = sorted(set(parts) & set(sys.modules))
assert not loaded, f"import akapulu_async also imports {loaded}"
'
"$$clean/bin/python" -I examples/first_conversation.py --simulator >"$$clean/out"
"$$clean/bin/akapulu-async" simulate --help >"$$clean/out"
echo "The wheel installs, imports without simulator and command line, and connects:"
ls dist/*.whl
endef
export WHEEL

wheel: $(tools)  ## build the distributions, and try the wheel in a clean environment
	@rm -rf dist && mkdir -p build
	@$(run) -m build --outdir dist . >build/wheel.log 2>&1 || { tail -n 20 build/wheel.log; exit 1; }
	@sh -c "$$WHEEL" wheel $(run)

ci:  ## run every check that a change must pass
	@.ci/run

clean:  ## remove everything that make made, .venv too
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis build dist htmlcov
	find akapulu_async benchmarks examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: release-check
release-check: $(tools)  ## build and check what is uploaded to an index; REPOSITORY=https://... fills in its links
	@$(run) -m tests.support.release_check "$(REPOSITORY)"
