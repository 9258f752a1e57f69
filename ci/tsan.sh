#!/usr/bin/env bash
# Proves: in the tests that set threads against each other (readers against the writer, handles and
# collectors against the sampler, forks) no memory is touched by two threads without an order
# between them, as ThreadSanitizer sees it: with the standard library instrumented too. Without that
# it would neither know of the order that std's locks and channels make, nor see what std touches,
# so there is no second best. Skipped, and says so, without a nightly toolchain and its sources.
#
# It does not judge the server: the runtime under it hands over by epoll, which is no order that it
# knows of. It does not judge fences, which it does not know; nothing in this crate uses one, and
# ci/miri.sh judges those of the crates that it is built on.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
rustup component add --toolchain "$toolchain" rust-src >/dev/null 2>&1 ||
    skip "the sources of the standard library of $toolchain cannot be had"
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/tsan"
export RUSTFLAGS="-Zsanitizer=thread"
# A forked child of a program with threads is what tests/fork.rs is about.
export TSAN_OPTIONS="halt_on_error=1 die_after_fork=0 ${TSAN_OPTIONS:-}"
export PLUGMETER_STRESS_SECONDS="${PLUGMETER_STRESS_SECONDS:-60}"
export PROPTEST_CASES="${PROPTEST_CASES:-16}"
export PLUGMETER_ROUNDS="${PLUGMETER_ROUNDS:-20}"
cargo "+$toolchain" test --locked --all-features -Zbuild-std --target "$host" \
    --lib --test stress --test collector --test races --test fork --test simulation --test model \
    --test logger \
    -- --nocapture
echo "ThreadSanitizer has found nothing"
