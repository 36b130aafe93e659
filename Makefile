# Everything runs in .venv, which the first target that needs it sets up, and which is left alone while it is current.
#
#   PYTHON   the interpreter that .venv is made with: make test PYTHON=python3.13
#   ARGS     passed on: make test ARGS="-k name"

PYTHON ?= python3
ARGS ?=
run := .venv/bin/python

.PHONY: help demo test coverage chaos examples soak fuzz secrets lint format format-check types wheel bench ci clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*##  *' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo 'Pass arguments on with ARGS="...", choose the interpreter with PYTHON=python3.13'

# Set-up. A stamp belongs to an interpreter and a place, so that neither another PYTHON nor a moved checkout is missed.

key := $(shell printf '%s' "$(PYTHON) $(CURDIR)" | cksum | tr ' ' '-')
package := .venv/.package-$(key)
tools := .venv/.tools-$(key)

# sh, with three arguments: the interpreter, what to install, the stamp.
define SETUP
fail() { echo "set-up: $$1" >&2; exit 1; }
log=build/set-up.log
mkdir -p build && : >$$log || fail "cannot write to $$log"

command -v "$$1" >/dev/null || fail "there is no $$1; install Python 3.11 or newer, or name one: PYTHON=/path/to/python3"
which='import sys; print("%d.%d.%d in %s" % (sys.version_info[:3] + (getattr(sys, "base_prefix", sys.prefix),)))'
found=$$("$$1" -c "$$which" 2>>$$log) || fail "$$1 does not run (see $$log)"
"$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$$1 is Python $${found%% *}; 3.11 or newer is needed, name one: PYTHON=/path/to/python3"

if [ "$$(.venv/bin/python -c "import pip; $$which" 2>>$$log)" != "$$found" ]; then
    "$$1" -c 'import venv, ensurepip' 2>>$$log ||
        fail "$$1 has no venv or no ensurepip; on Debian and Ubuntu, install the package python3-venv"
    echo "Setting up .venv with Python $${found%% *}"
    "$$1" -m venv --clear .venv >>$$log 2>&1 || fail "$$1 could not make .venv (see $$log)"
fi

echo "Installing $$2 into .venv"
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -e "$$2" >>$$log 2>&1; then
    if grep -q 'No space left on device' $$log; then
        fail "the disk is full (see $$log)"
    elif grep -qiE 'name resolution|new connection|connection (refused|reset|broken|aborted)|timed out|unreachable|proxy|certificate' $$log; then
        fail "the package index cannot be reached: check network, proxy and certificates (see $$log)"
    fi
    fail "pip could not install $$2: $$(grep -o 'ERROR: .*' $$log | head -n 1 | cut -c 8-160) (see $$log)"
fi
touch "$$3"
endef
export SETUP

$(package): pyproject.toml
	@if [ $(tools) -nt $< ]; then touch $@; else sh -c "$$SETUP" set-up "$(PYTHON)" '.[cli]' $@; fi

$(tools): pyproject.toml
	@sh -c "$$SETUP" set-up "$(PYTHON)" '.[dev]' $@

# What users run.

demo: $(package)  ## put a load of 300 conversations on a simulator, and write build/load.html
	@mkdir -p build
	@.venv/bin/akapulu-async load --simulator --conversations 300 --rate 20 --hold 2 --report build/load.html

examples: $(package)  ## run every example against the embedded simulator
	@set -e; for example in examples/*.py; do echo "-- $$example"; $(run) "$$example" --simulator; done

bench: $(tools)  ## measure what README.md shows, in about nine minutes, on a machine that does nothing else
	@echo '== A poll, side by side with loops written by hand'
	@$(run) benchmarks/poll.py --json build/bench/poll.json
	@echo && echo '== The session layer, without I/O'
	@$(run) benchmarks/layer.py --json build/bench/layer.json
	@echo && echo '== Sessions that one core sustains at 0.5 s'
	@$(run) benchmarks/sustained.py --json build/bench/sustained.json
	@echo && echo '== Many sessions in one manager'
	@$(run) benchmarks/manager.py --seconds 6 --json build/bench/manager.json
	@echo && echo '== How the cost grows with the sessions'
	@$(run) benchmarks/growth.py --json build/bench/growth.json
	@echo && echo '== Polls a conversation, and how late readiness is seen'
	@$(run) benchmarks/polling.py --sessions 20000 --chart build/bench/polling.html --json build/bench/polling.json
	@echo && echo '== The import'
	@$(run) benchmarks/imports.py --json build/bench/imports.json
	@echo && echo '== Recordings'
	@$(run) benchmarks/download.py --rounds 5 --json build/bench/download.json
	@echo && echo '== Polls that the simulator bears'
	@$(run) benchmarks/simulator.py --json build/bench/simulator.json

soak: $(tools)  ## hold 200 sessions that turn over for 10 minutes, and see that nothing grows; ARGS="--minutes 1"
	@$(run) benchmarks/soak.py $(ARGS)

# What must hold. A part of the tests covers a part of the code, so with ARGS coverage is not looked at.

test: $(tools)  ## run the tests; those in tests/sansio must cover akapulu_async/sansio whole, by branches
ifeq ($(strip $(ARGS)),)
	@rm -f .coverage .coverage.*
	@$(run) -m coverage run -m pytest tests/sansio
	@$(run) -m coverage combine --quiet
	@$(run) -m coverage report --include='akapulu_async/sansio/*' --fail-under=100 || \
		{ echo 'test: tests/sansio must cover akapulu_async/sansio to 100 %' >&2; exit 1; }
	@$(run) -m pytest -n 4 --dist worksteal
else
	@$(run) -m pytest $(ARGS)
endif

# Apart from the tests, since to be traced takes them half as long again.
coverage: $(tools)  ## run the tests and print which branches they do not cover
	@rm -f .coverage .coverage.*
	@$(run) -m coverage run -m pytest -n 4 --dist worksteal $(ARGS)
	@$(run) -m coverage combine --quiet
	@$(run) -m coverage report

chaos: $(tools)  ## run conversations through faults and restarts, 100 seeds; ARGS="--seed N" runs one
	@$(run) -m tests.robustness.chaotic $(ARGS)

# What only fuzzing needs is not in the extra, since there are no wheels of it for every interpreter.
fuzz: $(tools)  ## fuzz what reads answers, guided by coverage, a minute each; ARGS="--seconds 600 detail"
	@$(run) -c 'import atheris' 2>/dev/null || $(run) -m pip install --quiet --disable-pip-version-check --no-input atheris
	@$(run) -m tests.robustness.fuzzing.run $(ARGS)

secrets: $(tools)  ## run the tests with all logged, and look for keys and tokens in all that comes out
	@$(run) -m pytest -n 4 --dist worksteal --scan-secrets $(ARGS)

lint: $(tools)  ## look for mistakes
	@$(run) -m ruff check $(ARGS)

format: $(tools)  ## rewrite the sources in the common form
	@$(run) -m ruff check --quiet --fix-only
	@$(run) -m ruff format

format-check: $(tools)  ## tell which sources are not in the common form
	@$(run) -m ruff format --check

types: $(tools)  ## check the types
	@$(run) -m mypy $(ARGS)

# sh, in a clean temporary environment: what a user of the wheel gets. -I keeps the checkout out of sys.path.
define WHEEL
set -e
clean=$$(mktemp -d)
trap 'rm -rf "$$clean"' EXIT
trap 'exit 130' INT TERM
.venv/bin/python -m venv "$$clean"
"$$clean/bin/python" -m pip install --quiet --disable-pip-version-check --no-input dist/*.whl >build/wheel.log 2>&1 ||
    { tail -n 20 build/wheel.log; exit 1; }
"$$clean/bin/python" -m pip check --disable-pip-version-check
"$$clean/bin/python" -I -c '
import sys, akapulu_async
assert akapulu_async.__file__.startswith(sys.prefix), akapulu_async.__file__
parts = "akapulu_async.simulator", "akapulu_async.cli", "hdrh", "plotly", "rich", "typer", "uvloop"
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
	@sh -c "$$WHEEL"

ci:  ## all that must hold before a change goes in
	@.ci/run

clean:  ## remove all that make made, .venv too
	rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis build dist htmlcov
	find akapulu_async benchmarks examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: release-check
release-check: $(tools)  ## build and check what is uploaded to an index; REPOSITORY=https://... fills in its links
	@$(run) -m tests.support.release_check "$(REPOSITORY)"
