#!/usr/bin/env bash
# Proves: the tests run at least LEAST percent (default: 97) of the lines in src/. Prints the coverage
# of each file, and the lines that no test runs. A line that runs is not necessarily checked; that is
# what ci/mutants.sh measures. Doctests are not counted. Skipped without rustup's llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

rustup component add llvm-tools >/dev/null 2>&1 ||
    skip "llvm-tools, which read the profiles that the compiler writes, are not available"
need cargo-llvm-cov 0.9.1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/coverage"
# Tests that run for a given time run their lines in two seconds.
export PLUGMETER_STRESS_SECONDS="${PLUGMETER_STRESS_SECONDS:-2}"
export PROPTEST_CASES="${PROPTEST_CASES:-64}"
# Smaller programs link faster; backtraces keep their line numbers.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only

eval "$(cargo llvm-cov show-env --sh 2>/dev/null)"
cargo llvm-cov clean --workspace
# Tests run some of them.
cargo build --locked --all-features --examples
cargo test --locked --workspace --all-features --no-fail-fast --lib --tests
cargo llvm-cov report --show-missing-lines --fail-under-lines "${LEAST:-97}" \
    --ignore-filename-regex '/(benches|examples|fuzz|tests)/|/tests\.rs$'
