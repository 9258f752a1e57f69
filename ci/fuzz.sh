#!/usr/bin/env bash
# Proves: no input that cargo-fuzz generates in the given time makes a parser panic or breaks an
# invariant of a simulation. One target each for the files of procfs, the JSON of both configs and of
# limits, the headers `Accept` and `Host`, queries, responses of receivers of OTLP, blobs of a store, and sequences of
# commands.
# Usage: ci/fuzz.sh [SECONDS for each target] [TARGET...].
# Failing inputs are in fuzz/artifacts; the corpus stays in fuzz/corpus. Skipped without a nightly
# toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

seconds="${1:-60}"
shift || true
need_nightly
need cargo-fuzz 0.13.2

targets=("$@")
[ "${#targets[@]}" != 0 ] || mapfile -t targets < <(cargo "+$toolchain" fuzz list)
cargo "+$toolchain" fuzz build
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    seeds=()
    [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
    echo "=== $target, for $seconds seconds"
    cargo "+$toolchain" fuzz run "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 2>&1 |
        grep -vE '^#[0-9]+.*(NEW|REDUCE|RELOAD|pulse)'
done
