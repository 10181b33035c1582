# The commands of the checkout. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := $(CURDIR)/.venv
LINK := .ansible/collections/ansible_collections/rootless/buildah
INVENTORY ?= examples/localhost
# Which scenarios `make scenarios` runs, and on which of their machines; all of them without.
SCENARIO ?=
MACHINES ?=
HOST ?=
# More arguments for ansible-playbook, for example: make demo ARGS=--check
ARGS ?=

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_HOME := $(CURDIR)/.ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.ansible/collections
# A locale that every machine has; Ansible refuses to start in one that is not UTF-8.
export LC_ALL := C.UTF-8

.PHONY: help demo undemo test lint types unit sanity docs tarball floor integration machine test-long test-all scenarios vm-shell \
	shell bench requirements clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv-run ## make this machine a builder host with a registry, then build and push the example images
	@become=$$(tests/tools/become); ansible-playbook $$become -i $(INVENTORY) playbooks/site.yml $(ARGS)

undemo: .venv-run ## take back what `make demo` did, packages excepted
	@become=$$(tests/tools/become); ansible-playbook $$become -i $(INVENTORY) playbooks/teardown.yml $(ARGS)

test: .venv-dev ## run everything below, in this order, and print the counts
	@python tests/tools/run.py

lint types unit sanity docs tarball floor integration machine: .venv-dev
	@python tests/tools/run.py $@

lint: ## ansible-lint, yamllint, ruff, shellcheck
types: ## mypy --strict
unit: ## pytest tests/unit and tests/static, where there is a Python 3.9 there too
sanity: ## ansible-test sanity and units
docs: ## the documentation of plugins and roles, links, changelog
tarball: ## build the collection, install it into an empty place, use it from there; execution environment
floor: ## the oldest supported ansible-core and Python
integration: ## real buildah, skopeo and registry; needs root or sudo
machine: ## a bare virtual machine becomes a builder host, builds and is rebooted; needs root or sudo

test-long: .venv-dev ## what takes too long for `make test`: the host roles on bare machines, a cloud image, a hundred kills; needs Go 1.26
	@python tests/tools/run.py long

test-all: .venv-dev ## everything: `make test`, `make test-long` and all Molecule scenarios on virtual machines; needs Go 1.26
	@python tests/tools/run.py all

scenarios: .venv-dev ## all Molecule scenarios; one alone: make scenarios SCENARIO=node MACHINES=node-12
	@SCENARIO=$(SCENARIO) MACHINES=$(MACHINES) python tests/tools/run.py scenarios

vm-shell: ## log in to a running virtual machine: make vm-shell HOST=node-12
	@molecule/machines/vm.py shell $(HOST)

shell: .venv-dev ## a shell of root with the environment of make, for molecule by hand
	@$$([ "$$(id -u)" = 0 ] || echo sudo) env PATH="$$PATH" LC_ALL="$$LC_ALL" ANSIBLE_HOME="$$ANSIBLE_HOME" \
		ANSIBLE_COLLECTIONS_PATH="$$ANSIBLE_COLLECTIONS_PATH" MOLECULE_GLOB='molecule/*/molecule.yml' bash

bench: .venv-dev ## measure against plain buildah; prints ratios
	@python tests/tools/run.py bench

requirements: .venv-run ## pin the tools' requirements anew from pyproject.toml
	@tests/tools/pin

clean: ## remove everything that make made in the checkout
	@tests/tools/clean

# Internal: the virtual environment for playbooks and the one for tests; they are the same place.
.PHONY: .venv-run .venv-dev .link
.venv-run: .link
	@tests/tools/venv $(VENV) requirements.txt
.venv-dev: .link
	@tests/tools/venv $(VENV) requirements-dev.txt requirements.txt
.link:
	@mkdir -p $(dir $(LINK)) && ln -sfn ../../../.. $(LINK)
