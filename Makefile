# SPDX-License-Identifier: MPL-2.0
#
# `make` says what can be made. Every target does the set-up that it needs by itself.
#
#   OFFLINE=1        build from ostd/vendor (see `make vendor`), without a network
#   KTEST=name       with `make ktest`: only the tests whose path contains this
#   KERNEL=linux     with `make run` and `make shell`: on Debian's kernel instead
#   ROWS=expression  with `make bench`: only these rows; KERNELS=pollux,best,stock: only on these
#   ROW=name         with `make profile`: of this row; FLAGS=... more options, such as --inline

SHELL     := /bin/sh
KERNEL    ?= pollux
RUN_FLAGS ?=
ROWS      ?=
KERNELS   ?=
ROW       ?=
FLAGS     ?=
export OFFLINE KTEST

.DEFAULT_GOAL := help
.PHONY: help setup build tools apps run shell check test ktest loom mutants differ software test-servers vendor clean
.PHONY: bench bench-results bench-check bench-baseline bench-wall profile

help: ## this text
	@echo "Pollux. What can be made:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@echo
	@echo "Programs are run by ./pollux run PROGRAM; ./pollux --help says more."

setup: ## install what is missing (quick when nothing is)
	@sh scripts/setup.sh

build: quiet-setup ## the kernel: target/pollux.elf, bootable by QEMU
	@sh scripts/build-kernel.sh

tools: quiet-setup ## the ./pollux command and the guest's init
	@sh scripts/build-tools.sh

apps: quiet-setup ## the test programs in test/apps
	@sh scripts/build-apps.sh

run: target/guest/tour ## boot, show a short tour, then give a shell (on a terminal)
	@./pollux run --kernel $(KERNEL) $(RUN_FLAGS) target/guest/tour
	@if [ -t 0 ] && [ -t 1 ]; then ./pollux shell --kernel $(KERNEL) $(RUN_FLAGS); fi

shell: ## an interactive busybox shell
	@./pollux shell --kernel $(KERNEL) $(RUN_FLAGS)

check: quiet-setup ## format, lints, no unsafe code, host tests: under a minute once built, no QEMU
	@sh scripts/check.sh

test: quiet-setup ## everything: check, ktest, test/apps, real programs and servers, on the host, on Linux and on Pollux; bench-check
	@sh scripts/test.sh

ktest: quiet-setup ## the kernel's own tests, in QEMU
	@sh scripts/ktest.sh $(KTEST)

loom: quiet-setup ## the models of the concurrent parts, exhaustively or at random (minutes)
	@sh scripts/loom.sh

mutants: quiet-setup ## shows that each model catches the mistake it is there for
	@sh scripts/mutants.sh

software: quiet-setup ## real programs on Linux and on Pollux: same output?
	@sh test/software/run.sh

test-servers: quiet-setup ## servers and their clients under load, a minute each, with one CPU and four (FLAGS='--smp 4 redis')
	@sh test/servers/run.sh $(FLAGS)

bench: quiet-setup ## instructions per system call, on Pollux and on Linux: table, CSV, curves (ROWS=epoll KERNELS=pollux)
	@sh scripts/bench.sh table --rows='$(ROWS)' $(KERNELS:%=--kernels=%) $(FLAGS)

bench-results: quiet-setup ## the same, and writes the committed page, test/bench/RESULTS.md
	@sh scripts/bench.sh table --page $(FLAGS)

differ: quiet-setup ## random calls on Linux and on Pollux: where do the answers differ? (FLAGS='--first 1 --count 1000')
	@sh scripts/differ.sh $(FLAGS)

bench-check: quiet-setup ## has a row grown by more than 3 % since the committed baseline? (minutes)
	@sh scripts/bench.sh check

bench-baseline: quiet-setup ## write the baseline, test/bench/baseline.json
	@sh scripts/bench.sh baseline

bench-wall: quiet-setup ## real programs against the clock, Pollux and Linux in turn, as ratios (FLAGS='--tests redis')
	@sh scripts/wall-software.sh
	@sh scripts/bench.sh wall $(FLAGS)

profile: quiet-setup ## where the instructions of a row go, by function: ROW=getppid FLAGS='--inline --trace' (--help: more)
	@sh scripts/bench.sh profile $(FLAGS) $(if $(ROW),'$(ROW)')

vendor: quiet-setup ## fetch all crates into ostd/vendor, for OFFLINE=1
	@sh scripts/vendor.sh

clean: ## remove what was built, but not what set-up fetched
	@find target -mindepth 1 -maxdepth 1 ! -name tools ! -name linux -exec rm -rf {} + 2>/dev/null || true
	@$(MAKE) -s -C test/apps clean

.PHONY: quiet-setup
quiet-setup:
	@sh scripts/setup.sh --quiet

target/guest/tour: test/tour/tour.c | quiet-setup
	@mkdir -p $(@D)
	@gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -o $@ $<
