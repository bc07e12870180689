# The README's two commands are `make demo` and `make test`. On a fresh Debian 12 as root each of them sets everything
# up by itself, from the package registries alone; afterwards only what changed is made again (build/stamps).
#
#   make demo       the demonstration: real calls, a lawful order, and the proof that there is nothing else
#   make test       lint, types, and all tests
#   make build      only the set-up and the build
#   make bench      the benchmarks in their quick form
#   make checked    the tests of ext/ and its users with bounds checks compiled in
#   make sanitize   the same under the address and undefined-behaviour sanitizers
#   make guards     each guard of docs/THREATS.md taken away once, and the test that must fail then
#   make machine    the systemd units on a virtual machine of their own (tests/machine/README.md)
#   make audit      the auditor's offline verifier as one file, audit.pyz: the same octets each time
#   make release    what is published: built twice, in different circumstances, into the same octets (SEC-25)
#   make clean      removes what the build made (not .venv)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Debian's own interpreter, whatever else is on PATH: the daemon is deployed with it.
SYSTEM_PYTHON := /usr/bin/python3
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --quiet --disable-pip-version-check --no-input
STAMPS := build/stamps

# To build; and to place real calls in network namespaces. Nothing of these starts a daemon.
BUILD_PACKAGES := python3-venv python3-dev gcc libc6-dev clang libbpf-dev libelf-dev libssl-dev zlib1g-dev
LIVE_PACKAGES := iproute2 sip-tester nftables
# Independent readers of what we write, the real switches and phones of the rig (tests/rig), and what other detectors
# of digits are compared with; tests that need one are skipped, visibly, without it.
TEST_PACKAGES := tshark kamailio kamailio-websocket-modules rtpengine-daemon baresip-core tcpdump \
    multimon-ng libspandsp-dev sox softhsm2 bpftool

EXT_SOURCES := setup.py $(wildcard ext/*.pyx ext/*.pxd ext/*.h ext/*.c)
BPF_OBJECTS := $(patsubst ext/bpf/%.bpf.c,mediation/access/%.bpf.o,$(wildcard ext/bpf/*.bpf.c))
BPF_FLAGS := -O2 -g -Wall -Werror -target bpf -ffile-prefix-map=$(CURDIR)=. -fdebug-compilation-dir=. -I/usr/include/$(shell uname -m)-linux-gnu

# Tests that use ext/ and need no build of their own; run again in the checked and the sanitized build.
EXT_TESTS := $(wildcard tests/ext tests/core tests/access tests/fuzz)

.PHONY: demo test build bench checked sanitize guards machine audit release clean lint
.DEFAULT_GOAL := build

demo: build
	@exec $(VENV)/bin/mediation demo

build: $(STAMPS)/debian $(STAMPS)/project $(STAMPS)/extensions $(BPF_OBJECTS)

test: build lint $(STAMPS)/debian-test
	@# A file is one worker's: its tests share their site and network, and live calls never compete with themselves.
	exec $(PYTHON) -m pytest -q -n 2 --dist loadfile

lint: build $(STAMPS)/tools
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	# It calls pycodestyle by name.
	PATH="$(abspath $(VENV)/bin):$$PATH" $(VENV)/bin/cython-lint ext

bench: build
	@for name in signalling targets latency media digits activation memory; do $(PYTHON) -m "bench.$$name" --quick --json; done

# ---- set-up ---------------------------------------------------------------------------------------------------------

# Installs what is missing of $(1), without which nothing goes on, and of $(2), without which something is left out.
define INSTALL
@mkdir -p $(STAMPS)
# Names the packages among its arguments that are not installed.
missing() {
    for package in "$$@"; do
        [[ "$$(dpkg-query -W -f='$${db:Status-Abbrev}' "$$package" 2>/dev/null)" == ii* ]] || printf '%s ' "$$package"
    done
}
needed="$$(missing $(1))"; wished="$$(missing $(2))"
if [[ -n "$$needed$$wished" && "$$(id -u)" != 0 ]]; then
    echo "These Debian packages are missing: $$needed$$wished" >&2
    echo "Run as root: apt-get install --no-install-recommends $$needed$$wished" >&2
    [[ -z "$$needed" ]] || exit 1
    exit 0
fi
if [[ -n "$$needed$$wished" ]]; then
    echo "Installing Debian packages: $$needed$$wished"
    guard=/usr/sbin/policy-rc.d
    if [[ ! -e $$guard ]]; then
        # invoke-rc.d(8): 101 forbids, so that no installed daemon starts by itself. Gone again when we are done.
        printf '#!/bin/sh\nexit 101\n' > $$guard
        chmod 755 $$guard
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update > build/apt.log 2>&1 || { cat build/apt.log >&2; exit 1; }
    apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $$needed $$wished > build/apt.log 2>&1 \
        || { tail -n 20 build/apt.log >&2; exit 1; }
fi
touch $@
endef

$(STAMPS)/debian: Makefile
	$(call INSTALL,$(BUILD_PACKAGES),$(LIVE_PACKAGES))

$(STAMPS)/debian-test: Makefile | $(STAMPS)/debian
	$(call INSTALL,,$(TEST_PACKAGES))

$(STAMPS)/venv: | $(STAMPS)/debian
	@mkdir -p $(STAMPS)
	echo "Making $(VENV) from $(SYSTEM_PYTHON)"
	$(SYSTEM_PYTHON) -m venv --clear $(VENV)
	touch $@

# Names the requirements that pyproject.toml lists under the given extras; "build" and "run" are the project's own.
define REQUIREMENTS
import sys, tomllib
file = tomllib.load(open("pyproject.toml", "rb"))
lists = {"build": file["build-system"]["requires"], "run": file["project"]["dependencies"]}
lists |= file["project"]["optional-dependencies"]
print(*(line for name in sys.argv[1:] for line in lists[name]), sep="\n")
endef
export REQUIREMENTS

# The requirements first, so that the project, whose installation compiles ext/, is installed once and alone.
$(STAMPS)/project: pyproject.toml setup.py $(STAMPS)/venv | $(STAMPS)/debian
	@echo "Installing the project and its requirements"
	$(PYTHON) -c "$$REQUIREMENTS" build run collection > build/requirements.txt
	$(PIP) install -r build/requirements.txt
	echo "Building the extensions"
	$(PIP) install --no-deps --no-build-isolation -e . > build/extensions.log 2>&1 || { cat build/extensions.log >&2; exit 1; }
	touch $@ $(STAMPS)/extensions

$(STAMPS)/extensions: $(EXT_SOURCES) $(STAMPS)/project
	@echo "Building the extensions"
	$(PYTHON) setup.py -q build_ext --inplace > build/extensions.log 2>&1 || { cat build/extensions.log >&2; exit 1; }
	touch $@

$(STAMPS)/tools: pyproject.toml $(STAMPS)/project
	@echo "Installing the tools of the tests"
	$(PYTHON) -c "$$REQUIREMENTS" test lint > build/tools.txt
	$(PIP) install -r build/tools.txt
	touch $@

mediation/access/%.bpf.o: ext/bpf/%.bpf.c $(wildcard ext/bpf/*.h) | $(STAMPS)/debian
	@clang $(BPF_FLAGS) -c $< -o $@

# ---- the other two builds of ext/, each in a tree of its own --------------------------------------------------------

define COPY_TREE
rm -rf build/$(1) && mkdir -p build/$(1)
git ls-files -z --cached --others --exclude-standard | grep -zv '^bench/results/' | xargs -0 cp --parents -t build/$(1) --
cp mediation/access/*.bpf.o build/$(1)/mediation/access/ 2>/dev/null || true
endef

checked: build $(STAMPS)/tools
	@$(call COPY_TREE,checked)
	cd build/checked
	MEDIATION_CHECKED=1 ../../$(PYTHON) setup.py -q build_ext --inplace > ../checked.log 2>&1 || { cat ../checked.log >&2; exit 1; }
	exec ../../$(PYTHON) -m pytest -q -p no:cacheprovider $(EXT_TESTS)

sanitize: build $(STAMPS)/tools
	@$(call COPY_TREE,sanitize)
	cd build/sanitize
	MEDIATION_SANITIZE=1 ../../$(PYTHON) setup.py -q build_ext --inplace > ../sanitize.log 2>&1 || { cat ../sanitize.log >&2; exit 1; }
	# The interpreter is not instrumented, so the runtime comes first by hand; its own leaks at exit are not ours.
	export LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)"
	export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	exec ../../$(PYTHON) -m pytest -q -p no:cacheprovider $(EXT_TESTS)

# A row a line as soon as it is known; fails unless every row is proven. Some rows need root.
guards: build $(STAMPS)/debian-test
	exec $(PYTHON) -m tests.guards --jobs 2
machine: build
	@exec $(PYTHON) -m tests.machine.run

# Needs nothing but the interpreter: no build, no package, no network.
audit:
	@$(SYSTEM_PYTHON) -B mediation/audit/pack.py audit.pyz

# Of the last commit, whatever else lies here. Twice: another folder, clock, mask, language and time zone must not show.
release: build
	@commit="$$(git rev-parse HEAD)"  # once: somebody may commit between the two
	epoch="$$(git log -1 --format=%ct "$$commit")"
	rm -rf build/release && mkdir -p build/release
	# Builds the commit in the folder $$1 and leaves the archives in $$1.out.
	once() {
	    mkdir -p "$$1" "$$1.out"
	    git archive "$$commit" | tar -x -C "$$1"
	    (
	        cd "$$1"
	        for source in ext/bpf/*.bpf.c; do
	            clang $(subst $(CURDIR),"$$PWD",$(BPF_FLAGS)) -c "$$source" -o "mediation/access/$$(basename "$$source" .c).o"
	        done
	        SOURCE_DATE_EPOCH="$$epoch" $(abspath $(PYTHON)) setup.py -q sdist -d "$$OLDPWD/$$1.out" bdist_wheel -d "$$OLDPWD/$$1.out"
	    ) > "$$1.log" 2>&1 || { tail -n 40 "$$1.log" >&2; exit 1; }
	    $(SYSTEM_PYTHON) -B mediation/audit/pack.py "$$1.out/audit.pyz" > /dev/null
	    $(PYTHON) -m mediation.cli.main release pack "$$1.out" --project pyproject.toml --epoch "$$epoch"
	}
	(umask 022; TZ=UTC LC_ALL=C once build/release/first)
	(umask 077; TZ=Asia/Kolkata LC_ALL=C.UTF-8 once build/release/the-second-time)
	diff -r build/release/first.out build/release/the-second-time.out
	mv build/release/first.out build/release/signed-next
	cat build/release/signed-next/SHA256SUMS
	echo "the same octets twice; now: mediation release sign build/release/signed-next --key KEY --earlier releases"

clean:
	@rm -rf build *.egg-info audit.pyz
	find mediation -name '*.so' -delete -o -name '*.bpf.o' -delete
