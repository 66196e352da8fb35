# The short way in.  CMake does the work (CMakePresets.json); this file only names the steps.
#   make setup   packages and the pretrained model        make test    everything, about fifteen minutes on two cores
#   make build   build/release/freshet                    make bench   what this machine reaches
#   make demo    the whole thing, live (ARGS=--stay keeps it up)
#   make bench-peers   the same work by other engines (writes BENCHMARKS.md; ARGS=--quick)
#   make quality       what the model learns beside other learners (writes QUALITY.md; ARGS=--quick)
#   make fuzz    fuzz targets, 60 seconds each (ARGS="600 fuzz_event": seconds, and which)
.PHONY: all setup build dev test fuzz demo bench bench-peers quality docs mutants check-style format clean
JOBS ?= 2
# Tests wait for brokers and clocks more than they compute.
TEST_JOBS ?= 3

all: build

setup:
	@deploy/setup.sh

build:
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS)

dev:
	@cmake --preset dev
	@cmake --build --preset dev -j $(JOBS)

# ASan and UBSan run what is quick, TSan what has threads (without librdkafka, which it cannot follow), the release build
# all, and helgrind what links librdkafka.  ctest's own summaries close each.
test: setup
	@cmake --preset asan && cmake --build --preset asan -j $(JOBS)
	@cmake --preset tsan && cmake --build --preset tsan -j $(JOBS)
	@cmake --preset release && cmake --build --preset release -j $(JOBS)
	@cmake --preset fuzz && cmake --build --preset fuzz -j $(JOBS)
	@ctest --preset asan -L quick -LE style -j $(TEST_JOBS)
	@ctest --preset tsan -L threads -j $(TEST_JOBS)
	@ctest --preset release -LE 'slow|helgrind' -j $(TEST_JOBS)
	@ctest --preset release -L helgrind -LE slow -j $(JOBS)
	@ctest --preset fuzz -j $(JOBS)

fuzz: setup
	@cmake --preset fuzz && cmake --build --preset fuzz -j $(JOBS)
	@tests/fuzz/run.sh $(if $(ARGS),$(ARGS),60)

demo:
	@deploy/setup.sh --no-tests
	@$(MAKE) --no-print-directory build
	@deploy/demo.sh $(ARGS)

bench: build
	@build/release/freshet bench $(ARGS)

# What the model learns, beside other learners on the same examples.
quality: build
	@tests/quality/run.sh $(ARGS)

bench-peers: build
	@tests/bench/peers/run.sh $(ARGS)

# What is made from tables and templates: CONFIG.md and the sentences that are built in.
docs:
	@featurize/templates/embed.sh >featurize/describe_templates.inc
	@cmake --preset release && cmake --build --preset release -j $(JOBS)
	@build/release/freshet check --print-config-doc >CONFIG.md

mutants: setup
	@tests/tools/mutants.sh $(ARGS)

check-style:
	@cmake --preset dev && cmake --build --preset dev -j $(JOBS) && ctest --preset dev -L style

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	@rm -rf build
