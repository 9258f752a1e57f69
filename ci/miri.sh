#!/usr/bin/env bash
# Proves: the unit tests cause no undefined behaviour, as Miri detects it. The tests of modules named
# `threads`, in which threads meet, run with SEEDS (default: 16) schedules, each with the stale
# values that weak memory allows; that judges orderings and fences, which ThreadSanitizer does not.
# Skipped without a nightly toolchain that has Miri.
#
# Tests that call the operating system are marked `#[cfg_attr(miri, ignore = ...)]`, or are in modules for
# `#[cfg(not(miri))]`. Tests that repeat something thousands of times, which take minutes in Miri, are
# marked `#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = ...)]` and run only with ALL=1.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
rustup component add --toolchain "$toolchain" miri rust-src >/dev/null 2>&1 ||
    skip "Miri is not available for $toolchain"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
[ -z "${ALL:-}" ] || export RUSTFLAGS="--cfg plugmeter_slow ${RUSTFLAGS:-}"
# Tests read the wall clock.
export MIRIFLAGS="-Zmiri-disable-isolation"
cargo "+$toolchain" miri test --locked -p plugmeter --all-features --lib -- --skip threads::
MIRIFLAGS+=" -Zmiri-many-seeds=0..${SEEDS:-16}"
cargo "+$toolchain" miri test --locked -p plugmeter --all-features --lib -- threads::
