# The short way in.  CMake does the work (CMakePresets.json); this file only names the steps.
#   make setup   packages and the pretrained model        make test    everything, about twenty minutes on two cores
#   make build   build/release/freshet                    make bench   what this machine reaches
#   make demo    the whole thing, live (ARGS=--stay keeps it up)
#   make bench-peers   the same work by other engines (writes BENCHMARKS.md; ARGS=--quick)
#   make quality       what the model learns beside other learners (writes QUALITY.md; ARGS=--quick)
#   make fuzz    fuzz targets, 60 seconds each (ARGS="600 fuzz_event": seconds, and which)
.PHONY: all setup build dev test fuzz demo bench bench-peers quality docs mutants check-style format clean kafka-jars \
    test-release test-helgrind test-asan test-tsan test-fuzz
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
# all, and helgrind what links librdkafka.  The release build's tests wait more than they compute, so the other presets are
# built and tested meanwhile, one build after the other and at a lower priority: times are the release tests' to keep.  What
# these say comes at once, what any other step says when it ends, with ctest's own summary.
test: setup
	@$(MAKE) --no-print-directory -j 3 --output-sync=target test-release test-asan test-tsan test-fuzz test-helgrind

ALONE = env -u MAKEFLAGS
ASIDE = $(ALONE) nice -n 5
build-%:
	@cmake --preset $* && $(ASIDE) cmake --build --preset $* -j $(JOBS)
build-asan: build-release
build-tsan: build-asan
build-fuzz: build-tsan

kafka-jars: # tests that need them would fetch them, all but one waiting
	@for v in 4.3.1 3.9.1; do KAFKA_VERSION=$$v deploy/kafka.sh fetch || exit 1; done

test-release: build-release kafka-jars
	@+$(ALONE) ctest --preset release -LE 'slow|helgrind' -j $(TEST_JOBS)
test-helgrind: build-release
	@$(ASIDE) ctest --preset release -L helgrind -LE slow
test-asan: build-asan
	@$(ASIDE) ctest --preset asan -L quick -LE style -j $(JOBS)
test-tsan: build-tsan
	@$(ASIDE) ctest --preset tsan -L threads -j $(JOBS)
test-fuzz: build-fuzz
	@$(ASIDE) ctest --preset fuzz -j $(JOBS)

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

# What is made from tables and templates: CONFIG.md, docs/METRICS.md and the sentences that are built in.
docs:
	@featurize/templates/embed.sh >featurize/describe_templates.inc
	@cmake --preset release && cmake --build --preset release -j $(JOBS)
	@build/release/freshet check --print-config-doc >CONFIG.md
	@build/release/freshet check --print-metrics-doc >docs/METRICS.md

mutants: setup
	@tests/tools/mutants.sh $(ARGS)

check-style:
	@cmake --preset dev && cmake --build --preset dev -j $(JOBS) && ctest --preset dev -L style

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	@rm -rf build
