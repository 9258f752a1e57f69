#!/usr/bin/env bash
# Proves: the public API is compatible with that of the newest release, as far as the version in Cargo.toml
# promises it. The release is the newest tag `v*`; another revision can be named. Skipped before the first
# release.
# Usage: ci/semver.sh [REVISION].
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

baseline="${1:-$(git tag --list 'v*' --sort=-version:refname | head -n 1)}"
[ -n "$baseline" ] || skip "there is no release to compare with"
need cargo-semver-checks 0.51.0
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/semver"
cargo semver-checks check-release -p plugmeter --all-features --baseline-rev "$baseline"
