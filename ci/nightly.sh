#!/usr/bin/env bash
# Proves: the checks that are too slow for every change pass. Runs all of them one after the other,
# prints a line for each (passed, failed or skipped, and its seconds), and fails at the end if one
# failed. The logs are in target/nightly.
# Usage: ci/nightly.sh [NAME...]. Without names: all of them, which takes hours.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

checks=(benches pairs semver coverage server stress rounds soak tsan miri fuzz mutants)
command_of() {
    case "$1" in
        benches) echo "cargo bench --locked -p plugmeter-benches --no-run" ;;
        pairs) echo "PAIRS=1 ci/features.sh" ;;
        semver) echo "ci/semver.sh" ;;
        coverage) echo "ci/coverage.sh" ;;
        # Waits for the limits of ten and sixty seconds.
        server) echo "PLUGMETER_REAL_LIMITS=1 cargo test --locked -p plugmeter-http-tests --test limits" ;;
        stress) echo "PLUGMETER_STRESS_SECONDS=600 cargo test --locked --release -p plugmeter --all-features --test stress -- --nocapture" ;;
        rounds) echo "PLUGMETER_LONG=1 PLUGMETER_ROUNDS=1000 cargo test --locked -p plugmeter --all-features --test exit --test linux --test collector --test store" ;;
        soak) echo "cargo run --locked --release --features http,otlp,store --example soak -- 3600" ;;
        tsan) echo "ci/tsan.sh" ;;
        miri) echo "ALL=1 ci/miri.sh" ;;
        fuzz) echo "ci/fuzz.sh 600" ;;
        mutants) echo "ci/mutants.sh" ;;
        *) return 1 ;;
    esac
}

logs="${CARGO_TARGET_DIR:-target}/nightly"
mkdir -p "$logs"
[ "$#" != 0 ] || set -- "${checks[@]}"
failed=()
for name; do
    command=$(command_of "$name") || { echo "no check $name: ${checks[*]}" >&2; exit 2; }
    start=$SECONDS
    if bash -c "$command" >"$logs/$name.log" 2>&1; then
        result=passed
        ! grep -q "^SKIPPED: " "$logs/$name.log" || result=skipped
    else
        result=failed
        failed+=("$name")
    fi
    printf '%-10s %-8s %6d s\n' "$name" "$result" $((SECONDS - start))
done
[ "${#failed[@]}" = 0 ] || { echo "failed: ${failed[*]}; see $logs" >&2; exit 1; }
