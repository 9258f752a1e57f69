#!/usr/bin/env bash
# Proves: if one operator, value or branch of the model, the engine, the store or the probes is changed, a
# test fails. Lists the mutants that no test detects, and fails if there are any; those that break nothing
# documented are in .cargo/mutants.toml, each with its reason.
# Usage: ci/mutants.sh [FILE...]. Without files: an hour or two, and longer for src/os.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-mutants 27.1.0
[ "$#" != 0 ] ||
    set -- src/{snapshot,history,engine,findings,store,sampler,os}.rs src/{snapshot,history,engine,findings,store,sampler,os}/'**'
fast=() store=() os=()
for file; do
    case "$file" in
        src/os* | src/sampler.rs) os+=(--file "$file") ;;
        src/store*) store+=(--file "$file") ;;
        *) fast+=(--file "$file") ;;
    esac
done

mkdir -p "${CARGO_TARGET_DIR:-target}"
export CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES="${PROPTEST_CASES:-24}"
# One failing case is enough; it need not be the smallest.
export PROPTEST_MAX_SHRINK_ITERS=0
mutate() {
    local status=0
    cargo mutants --jobs 1 --minimum-test-timeout 30 --no-shuffle --colors never \
        --output "${CARGO_TARGET_DIR:-target}/mutants-$1" --cargo-arg=--lib "${@:2}" || status=$?
    # 3: some mutants timed out, which detects them too.
    [ "$status" = 3 ] || return "$status"
}
# Code that does not call the operating system is tested by the suites that do not either, in a build
# without the exports: they take seconds. The loop is tested on real processes too.
status=0
[ "${#fast[@]}" = 0 ] ||
    mutate model --no-default-features --features testing --cargo-arg=--package=plugmeter{,-property-tests} \
        --cargo-arg=--test={simulation,model} "${fast[@]}" ||
    status=$?
# On real files, which SQLite reads and writes.
[ "${#store[@]}" = 0 ] ||
    mutate store --no-default-features --features http,store,testing --cargo-arg=--test=store "${store[@]}" || status=$?
[ "${#os[@]}" = 0 ] ||
    mutate os --features testing --cargo-arg=--test={linux,collector,faults} "${os[@]}" || status=$?
exit "$status"
