# SPDX-License-Identifier: LGPL-2.1-or-later
# The front door; Meson builds.  `make help` lists the targets.
BUILD ?= build
MESON_OPTIONS ?=
PYTHON ?= /usr/bin/python3
KUT ?=

.PHONY: all help demo test test-long soak bench conformance install sanitize format format-check clean \
	packages-build packages-demo packages-test

all: packages-build $(BUILD)/build.ninja ## build/trapeze and the rest
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) $(MESON_OPTIONS)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 - /p' Makefile

packages-build:
	@scripts/packages build
packages-demo:
	@scripts/packages build demo
packages-test:
	@scripts/packages build demo test

demo: packages-demo all ## Debian's kernel in a guest, on this terminal (or checked, without one)
	@$(PYTHON) demo/demo.py --trapeze $(BUILD)/trapeze

test: packages-test all ## unit and system tests, about eight minutes
	@$(PYTHON) scripts/run_tests.py --build $(BUILD)

test-long: packages-test all ## what takes longer: every stock kernel, systemd, reboots
	@$(PYTHON) scripts/run_tests.py --build $(BUILD) --long

soak: packages-test all ## the translator for hours: BOOTS boots of each kernel (50), stress, 10,000,000 random instructions
	@$(PYTHON) scripts/run_tests.py --build $(BUILD) --soak

bench: packages-test all ## speed, with peers in the same run
	@$(PYTHON) bench/run.py --build $(BUILD)

conformance: packages-test all ## other people's suites, into docs/conformance.md (KUT=DIR: kvm-unit-tests)
	@$(PYTHON) scripts/conformance.py --build $(BUILD) $(if $(KUT),--kut $(KUT))

sanitize: packages-test ## ASan and UBSan for all, TSan for kvm/ and machine/
	@$(PYTHON) scripts/sanitize.py

install: all ## DESTDIR and the like as Meson has them
	@meson install -C $(BUILD) --no-rebuild

format: ## clang-format over the tree
	@git ls-files '*.c' '*.h' | xargs clang-format -i
format-check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

clean: ## removes the build folders
	@rm -rf build build-*
