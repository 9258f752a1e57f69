#!/usr/bin/env bash
# Proves: the tests run at least LEAST percent of the lines of src/ (90 where nothing is said). It
# prints the figure of each file, and of all. That a line is run does not say that it is checked:
# for that there is ci/mutants.sh. Skipped, and says so, without rustup's llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

rustup component add llvm-tools >/dev/null 2>&1 ||
    skip "llvm-tools, which read what the compiler's own LLVM has written, cannot be had"
need cargo-llvm-cov 0.9.1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/coverage"
# What takes a given time needs no longer than it takes to run its lines.
export PLUGMETER_STRESS_SECONDS="${PLUGMETER_STRESS_SECONDS:-2}"
export PROPTEST_CASES="${PROPTEST_CASES:-64}"
# Programs that are smaller to link; backtraces still have their lines.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
# Tests and files of tests alone are no part of the library.
cargo llvm-cov --locked --all-features --no-fail-fast \
    --ignore-filename-regex '(^|/)(tests|benches|examples)(/|\.rs)' \
    --fail-under-lines "${LEAST:-90}"
