# Every target is one line of help here and a command that can be called without make, too.
SHELL := /bin/sh
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Settings of the build; docs/reference/build.md explains them. Empty: the default.
ARCH ?=
KERNEL ?=
FIRMWARE ?=
K3S ?=
K3S_NEXT ?=
K3S_RELEASES ?=
K3S_AIRGAP ?=
OPERATOR ?=
SIGN_KEY ?=
RELEASE_KEYS ?=
CONFIG ?=
MIRROR ?=
ARTIFACTS ?=
CACHE ?=
# Of `make image`
FORMAT ?=
BOARD ?=
# Of `make extension`
NAME ?=
PACKAGES ?=
FILES ?=
UNITS ?=
VERSION ?=
# How many virtual machines of `make vm` run at the same time; a test's has one processor. One more
# than a small machine has: there is always one that waits for a limit or a server.
VMS ?= 3
# How long `make fuzz` looks for inputs that something breaks on
SECONDS ?= 60
# Of `make test-operator`, only where it is asked for: one that the environment names is left alone
CLUSTER := $(if $(filter command,$(origin KUBECONFIG)),$(KUBECONFIG))
# Options for the command behind a target: make run ARGS="--uefi --memory 4096"
ARGS ?=
export ARCH KERNEL FIRMWARE K3S K3S_NEXT K3S_RELEASES K3S_AIRGAP OPERATOR SIGN_KEY RELEASE_KEYS CONFIG MIRROR ARTIFACTS CACHE

VENV := .venv/bin
PYTHON_CODE := src tests scripts $(wildcard bench)
# of the files with such a line those that begin with it; the stub goes on in Python
SHELL_CODE = $(shell git ls-files -co --exclude-standard -- ':!tests/fuzz/corpus' ':!tests/stubs/k3s' | xargs -r grep -lE '^\#!/bin/(ba)?sh' 2>/dev/null | xargs -r awk 'FNR == 1 && /^\#!/ && !/python/ { print FILENAME }')

.PHONY: all
all: setup ## build everything into dist/artifacts (the default)
	@$(VENV)/k3os build $(ARGS)

.PHONY: run
run: setup ## boot k3OS in a virtual machine, building it first if needed
	@$(VENV)/k3os run $(ARGS)

.PHONY: image
image: setup ## a disk with an installed k3OS: FORMAT=raw|qcow2|vmdk|vhd CONFIG=config.yaml BOARD=rpi
	@$(VENV)/k3os image $(if $(FORMAT),--format '$(FORMAT)') $(if $(BOARD),--board '$(BOARD)') $(if $(CONFIG),--config '$(CONFIG)') $(ARGS)

.PHONY: extension
extension: setup ## a system extension: NAME=… PACKAGES="…" FILES=<directory> UNITS="…" VERSION=…
	@PACKAGES='$(PACKAGES)' FILES='$(FILES)' UNITS='$(UNITS)' VERSION='$(VERSION)' $(VENV)/k3os extension build '$(NAME)' $(ARGS)

# The operator's tests wait most of the time, and need no image: they run beside the machines.
SHORT = -m 'not extra and not long'
WITH_VMS = -n $(VMS) --dist loadfile --no-loadscope-reorder --durations 25 --durations-min 20

.PHONY: test
test: lint unit ## as CI does: lint, unit, operator, a minute of fuzzing, VM boots
	@KUBECONFIG= $(VENV)/pytest tests/operator tests/chaos tests/fuzz tests/vm $(SHORT) $(WITH_VMS) $(ARGS)

.PHONY: test-fast
test-fast: lint ## before each commit (three minutes): lint, unit, one boot
	@$(VENV)/pytest tests/vm/test_run.py tests/unit -q -n 2 --dist loadfile $(ARGS)

.PHONY: unit
unit: setup ## unit tests; ARGS="-k name" chooses
	@$(VENV)/pytest tests/unit -q -n 2 --dist loadfile $(ARGS)

.PHONY: vm
vm: setup ## tests that boot virtual machines (minutes); ARGS="-k name" chooses
	@$(VENV)/pytest tests/vm $(SHORT) $(WITH_VMS) $(ARGS)

.PHONY: test-long
test-long: setup ## before a release: these and those that take minutes each, an hour and more
	@$(VENV)/pytest tests/vm -m 'not extra' $(WITH_VMS) $(ARGS)

.PHONY: fuzz
fuzz: setup ## odd inputs for every parser: SECONDS=600; ARGS=<file that was found> tries it again
	@nice $(VENV)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

.PHONY: chaos
chaos: setup ## the operator under random faults, in memory: N=200 runs; ARGS="--seed S" again
	@nice $(VENV)/python -m tests.chaos --runs $(or $(N),200) $(ARGS)

.PHONY: test-arm
test-arm: setup ## ARM: over a Debian (arm64, armhf), the arm64 ISO, the Raspberry Pi
	@$(VENV)/pytest tests/vm/test_overlay.py tests/vm/test_arm.py -m 'extra or not extra' $(ARGS)

.PHONY: test-machines
test-machines: setup ## power cuts, clocks, cables, failing disks, no memory left (half an hour)
	@$(VENV)/pytest tests/vm/test_machines.py -m extra -n 2 -rA $(ARGS)

.PHONY: test-operator
test-operator: setup ## the operator against a stub API server, or KUBECONFIG=… any cluster
	@KUBECONFIG='$(CLUSTER)' $(VENV)/pytest tests/operator -q $(if $(CLUSTER),,-n 2 --dist worksteal) $(ARGS)

.PHONY: test-real
test-real: setup ## clusters of a real k3s: K3S=<path> K3S_NEXT=<path of a newer one> (root, hours)
	@scripts/setup lab
	@$(VENV)/pytest tests/real -s -q --no-header -p no:xdist $(ARGS)

.PHONY: torture
torture: setup ## N=50 power cuts during upgrades; the tally is printed
	@TORTURE=$(or $(N),50) $(VENV)/pytest tests/vm/test_power_cut.py -s $(ARGS)

.PHONY: lint
lint: setup ## ruff, mypy --strict, import layers, shellcheck
	$(VENV)/ruff check $(PYTHON_CODE)
	$(VENV)/ruff format --check $(PYTHON_CODE)
	$(VENV)/mypy
	$(VENV)/lint-imports --no-cache
	shellcheck --severity=warning $(SHELL_CODE)

.PHONY: fmt
fmt: setup ## format the code and fix what ruff can fix
	$(VENV)/ruff check --fix-only $(PYTHON_CODE)
	$(VENV)/ruff format $(PYTHON_CODE)

.PHONY: bench
bench: setup ## compare with Debian + cloud-init: boot time, memory, sizes; K3S=PATH: with that k3s
	@$(VENV)/python -m bench $(ARGS)

.PHONY: bench-operator
bench-operator: setup ## the operator over 1,000 simulated nodes: memory, delay, requests
	@$(VENV)/python -m bench.operator

.PHONY: docs
docs: setup ## write the generated parts of docs/
	@$(VENV)/python -m scripts.docs

.PHONY: docs-site
docs-site: setup ## docs/ as a site with search, in dist/site; a warning is an error
	@scripts/docs-site $(ARGS)

.PHONY: lock
lock: setup ## resolve requirements*.lock anew (Python packages, with hashes)
	scripts/lock

.PHONY: setup
setup: ## install missing host packages (apt) and the Python tools (.venv)
	@scripts/setup

.PHONY: clean
clean: ## remove artifacts, caches and the virtual environment
	rm -rf dist .cache .venv .setup.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "variables: ARCH KERNEL FIRMWARE K3S K3S_NEXT K3S_RELEASES K3S_AIRGAP OPERATOR SIGN_KEY RELEASE_KEYS CONFIG MIRROR ARTIFACTS CACHE FORMAT BOARD NAME PACKAGES FILES UNITS VERSION KUBECONFIG SECONDS ARGS (docs/reference/build.md)"
