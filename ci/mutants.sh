#!/usr/bin/env bash
# Proves: where one operator, value or branch of the model, the sampler and the probes is changed, a
# test fails. What survives although it should is listed at the end, and fails; the few that change
# nothing that was promised are in .cargo/mutants.toml, each with its reason.
# Usage: ci/mutants.sh [FILE...]. All of src/model and src/sampler take an hour or two, src/os longer: name files.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-mutants 27.1.0
[ "$#" != 0 ] || set -- 'src/model/**' 'src/sampler.rs' 'src/sampler/**' 'src/os.rs' 'src/os/**'
fast=() os=()
for file; do
    case "$file" in
        src/os* | src/sampler.rs) os+=(--file "$file") ;;
        *) fast+=(--file "$file") ;;
    esac
done

mkdir -p "${CARGO_TARGET_DIR:-target}"
export CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES="${PROPTEST_CASES:-24}"
# That a case fails is enough.
export PROPTEST_MAX_SHRINK_ITERS=0
mutate() {
    local status=0
    cargo mutants --jobs 1 --minimum-test-timeout 30 --no-shuffle --colors never \
        --output "${CARGO_TARGET_DIR:-target}/mutants-$1" --cargo-arg=--lib "${@:2}" || status=$?
    # One that hangs is noticed too.
    [ "$status" = 3 ] || return "$status"
}
# What needs no operating system is judged by the tests that need none, in a build without what other
# programs read: they take seconds. The loop itself is judged on real processes too.
status=0
[ "${#fast[@]}" = 0 ] ||
    mutate model --no-default-features --features testing --cargo-arg=--test={simulation,model,views} "${fast[@]}" ||
    status=$?
[ "${#os[@]}" = 0 ] ||
    mutate os --features testing --cargo-arg=--test={linux,collector,faults,logger} "${os[@]}" || status=$?
exit "$status"
