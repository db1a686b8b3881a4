# The one door for people and CI. Needs rustup's cargo, a C compiler, Python >= 3.10 with venv, and make;
# everything else is installed into this folder (.venv, target).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
ENV ?= kitchen
SEEDS ?= 0..10000

WHEEL_SOURCES := $(shell find rollback-core/src rollback-signaling/src rollback-webrtc/src rollback-server/src \
	rollback-py/src rollback-py/python -name '*.rs' -o -name '*.py' -o -name '*.pyi') \
	Cargo.toml Cargo.lock rollback-py/pyproject.toml $(wildcard rollback-*/Cargo.toml)

.PHONY: help demo test test-rust test-python lint nightly bench simulate fuzz lab test-lab nightly-lab soak system wheel docs clean

help:
	@echo 'make demo [ENV=kitchen|spread]   two processes play a real environment; their recordings are equal and verified'
	@echo 'make test                        everything that CI checks'
	@echo 'make nightly                     what takes longer: thousands of simulated matches, every course of an agreement, long games'
	@echo 'make bench                       criterion benches and the counts, with the peers in the same run'
	@echo 'make simulate SEED=n | SEEDS=a..b | STORM=storm   one simulated match, or a range of them (0..10000)'
	@echo 'make fuzz [FUZZERS=datagram] [FUZZ_SECONDS=60]    hostile datagrams, files and messages, each fuzzer so long'
	@echo 'make lab [SCENARIO=name] [TIMES=n] [SEED=n]       real processes over bad lines, NATs and outages (root on Linux; docs/lab.md)'
	@echo 'make system                      installs what tests need from the system (Debian, as root), or says what is missing'
	@echo 'make soak [SCENARIO=pair|eight]   45 minutes in the lab with changing lines: nothing grows'
	@echo 'make wheel                       the Python wheel, into target/wheels'
	@echo 'make docs                        the documentation of the crates'

# -- Python's own folder ------------------------------------------------------------------------------------------

$(VENV)/.ready: rollback-py/requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "rollback needs Python >= 3.10, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r rollback-py/requirements-dev.txt
	touch $@

# The demo and the benches measure what people install: the release build. Tests take the build that checks overflows.
$(VENV)/.wheel-release: $(VENV)/.ready $(WHEEL_SOURCES)
	$(call install_wheel,release)
	rm -f $(VENV)/.wheel-dev
	touch $@

$(VENV)/.wheel-dev: $(VENV)/.ready $(WHEEL_SOURCES)
	$(call install_wheel,dev)
	rm -f $(VENV)/.wheel-release
	touch $@

define install_wheel
	rm -rf target/wheels/$(1)
	cd rollback-py && $(BIN)/maturin build --quiet --locked --profile $(1) --out ../target/wheels/$(1)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall target/wheels/$(1)/*.whl
endef

wheel: $(VENV)/.wheel-release

# -- what people run ----------------------------------------------------------------------------------------------

demo: $(VENV)/.wheel-release
	cd examples/python && $(BIN)/python demo.py --env $(ENV)

simulate:
	cargo run --quiet --release -p rollback-core --features testing --example simulate -- \
		$(or $(SEED),$(SEEDS)) $(STORM)

bench: $(VENV)/.wheel-release
	cargo bench
	cargo build --release -p rollback-benches --bins
	cargo run --quiet --release -p rollback-benches --bin counts -- --json target/counts.json
	$(BIN)/python rollback-py/benchmarks/overhead.py

# libFuzzer on a stable compiler. What is kept for `make test` is where it begins; what it finds stays beside it.
FUZZERS := datagram spectator recording journal signaling
FUZZ_SECONDS ?= 60
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares

fuzz:
	cd rollback-core/fuzz; \
	for fuzzer in $(FUZZERS); do \
		mkdir -p corpus/$$fuzzer artifacts/$$fuzzer; \
		RUSTFLAGS='$(FUZZ_FLAGS)' cargo run --locked --release --target $$(rustc -vV | sed -n 's/^host: //p') --bin $$fuzzer -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1 \
			-artifact_prefix=artifacts/$$fuzzer/ corpus/$$fuzzer ../../rollback-*/tests/corpus/$$fuzzer; \
	done

# Only a short choice unless one is named: less than two minutes.
LAB_SHORT := delay-100ms one-way-200ms-and-loss outage-2.5s killed-peer server-killed symmetric-nats turn-tls http-proxy
LAB := $(if $(SCENARIO),$(SCENARIO),$(LAB_SHORT))

lab:
	cargo build --locked -p rollback-lab
	cargo build --locked -p rollback-arena -p rollback-server
	$(run_lab)

define run_lab
	target/debug/lab run $(LAB:%=lab/scenarios/%.toml) --times $(or $(TIMES),1) --seed $(or $(SEED),1)
endef

# What no package manager of a language brings: for the lab, and for tests of TURN, proxies and browsers.
SYSTEM := iproute2:ip nftables:nft coturn:turnserver tinyproxy:tinyproxy chromium:chromium

system:
	@missing=(); for package in $(SYSTEM); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v "$${package#*:}" >/dev/null || missing+=("$${package%%:*}"); \
	done; \
	if [ $${#missing[@]} -eq 0 ]; then \
		echo 'the system has all that the tests need'; \
	elif [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then \
		echo "missing, and to be installed by hand (on Debian as root: apt-get install $${missing[*]})"; exit 1; \
	else \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "$${missing[@]}"; \
	fi

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

# -- what CI runs -------------------------------------------------------------------------------------------------

test: lint test-rust test-lab test-python

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

test-rust:
	cargo test --locked --workspace --all-features
	cargo build --locked -p rollback-core --no-default-features
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --all-features

# With the binaries of the tests, which are there already.
test-lab:
	cargo test --locked --workspace --all-features --no-run
	$(run_lab)

test-python: $(VENV)/.wheel-dev
	$(BIN)/ruff check rollback-py examples
	$(BIN)/ruff format --check rollback-py examples
	cd rollback-py && $(BIN)/mypy
	cd rollback-py && $(BIN)/python -m mypy.stubtest rollback_py._rollback
	cd rollback-py && $(BIN)/pytest

nightly: $(VENV)/.wheel-release
	$(MAKE) simulate
	$(MAKE) simulate STORM=storm
	cargo run --release -p rollback-core --features testing --example explore
	$(MAKE) fuzz FUZZ_SECONDS=600
	cd rollback-py && $(BIN)/pytest -m nightly
	$(MAKE) nightly-lab

# 45 minutes each.
soak:
	cargo build --locked --release -p rollback-lab
	cargo build --locked --release -p rollback-arena -p rollback-server
	target/release/lab run $(or $(SCENARIO:%=lab/soak/%.toml),lab/soak/pair.toml lab/soak/eight.toml)

nightly-lab:
	$(MAKE) lab SCENARIO='$(patsubst lab/scenarios/%.toml,%,$(sort $(wildcard lab/scenarios/*.toml)))' TIMES=5

clean:
	rm -rf target $(VENV)
