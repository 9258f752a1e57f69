#!/usr/bin/env bash
# Proves: no two threads access the same memory without synchronization, as ThreadSanitizer detects it,
# in the tests where threads meet: readers and the writer, handles and collectors and the sampler,
# forks. The standard library is instrumented too, because its locks and channels order accesses, and
# because it accesses memory itself. Skipped without a nightly toolchain and its sources.
#
# The server is not tested: its runtime synchronizes by epoll, which ThreadSanitizer does not model.
# It does not model fences either. This crate uses none; those of its dependencies run in ci/miri.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
rustup component add --toolchain "$toolchain" rust-src >/dev/null 2>&1 ||
    skip "the sources of the standard library of $toolchain are not available"
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/tsan"
export RUSTFLAGS="-Zsanitizer=thread"
# tests/fork.rs forks a process with threads on purpose.
export TSAN_OPTIONS="halt_on_error=1 die_after_fork=0 ${TSAN_OPTIONS:-}"
export PLUGMETER_STRESS_SECONDS="${PLUGMETER_STRESS_SECONDS:-60}"
export PROPTEST_CASES="${PROPTEST_CASES:-16}"
export PLUGMETER_ROUNDS="${PLUGMETER_ROUNDS:-20}"
cargo "+$toolchain" test --locked -p plugmeter -p plugmeter-property-tests --all-features \
    -Zbuild-std --target "$host" \
    --lib --test stress --test collector --test fork --test simulation --test model \
    -- --nocapture
echo "no data race detected"
