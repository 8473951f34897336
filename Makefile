# SPDX-License-Identifier: Apache-2.0
# The face of the project; meson and ninja do the work.

PREFIX ?= /usr
DESTDIR ?=
BUILD ?= build
CC_NAME ?= gcc

.PHONY: all run test test-quick bench install format check-format clean deps vm-test vm-run fuzz valgrind

all: deps
	@tools/build $(BUILD)

deps:
	@tools/deps build

run:
	@tools/deps run
	@tools/build $(BUILD)
	@test/demo $(BUILD)

test:
	@tools/deps test
	@test/run

bench:
	@tools/deps bench
	@tools/build $(BUILD)
	@bench/run $(BUILD)

vm-test:
	@tools/deps test
	@tools/build $(BUILD)
	@test/run --only vm

valgrind:
	@tools/deps test
	@test/run --only valgrind

vm-run:
	@tools/deps test
	@tools/build $(BUILD)
	@tools/vm-run $(BUILD)

install: all
	@DESTDIR="$(DESTDIR)" meson configure $(BUILD) --prefix "$(PREFIX)"
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

format:
	@git ls-files 'src/*.[ch]' 'bench/*.[ch]' 'fuzz/*.[ch]' | xargs clang-format -i

check-format:
	@tools/deps format
	@git ls-files 'src/*.[ch]' 'bench/*.[ch]' 'fuzz/*.[ch]' | xargs clang-format --dry-run -Werror

clean:
	rm -rf build build-*
