#!/usr/bin/env bash
# Proves: the values, the roster with its scripted probe, the stores that are used again, the
# publication and the channel do nothing that the language leaves undefined, as Miri sees it. Where
# threads meet it tries as many interleavings as SEEDS says, with the values that a weak memory may
# show to each: that judges orderings, fences too, which ThreadSanitizer does not. Skipped, and says
# so, without a nightly toolchain that has Miri.
#
# Not here: what asks the operating system, which Miri has none of; what is measured on a clock that runs;
# and, unless ALL is set, tests that do one thing some thousand times, which take minutes each.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
rustup component add --toolchain "$toolchain" miri rust-src >/dev/null 2>&1 ||
    skip "Miri cannot be had for $toolchain"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
skips=(--skip across_threads --skip tests::order:: --skip tests::thread:: --skip routes::)
[ -n "${ALL:-}" ] || skips+=(
    --skip p95_is --skip every_tick_is_found --skip one_at_a_time --skip without_readers_everything
    --skip however_many_come_at_once --skip crash_loop --skip a_thinned_trace --skip a_trace_breaks
    --skip rounding_is_that_of_formatting --skip never_more_points
)
# Tests ask the wall clock.
MIRIFLAGS="-Zmiri-disable-isolation" \
    cargo "+$toolchain" miri test --locked --all-features --lib -- \
    model:: sampler:: shared:: export:: collector::registry config:: error:: \
    os::clock os::exit os::procfs "${skips[@]}"
MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..${SEEDS:-16}" \
    cargo "+$toolchain" miri test --locked --all-features --lib -- across_threads tests::order::
