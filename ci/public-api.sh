#!/usr/bin/env bash
# Proves: the public API is the one in ci/public-api.txt, so that no change of it goes unnoticed.
# `ci/public-api.sh --update` rewrites that file, to be reviewed with the change. Skipped without a
# nightly toolchain, because only its rustdoc writes JSON.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
need cargo-public-api 0.52.0

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/public-api"
# Without blanket implementations and auto traits.
list() {
    cargo "+$toolchain" public-api -p plugmeter --all-features -ss
}
# Standard error only on failure.
api=$(list 2>/dev/null) || { list >/dev/null; exit 1; }
if [ "${1:-}" = --update ]; then
    echo "$api" >ci/public-api.txt
else
    diff -u ci/public-api.txt <(echo "$api") || {
        echo "the public API has changed; if that is intended, run ci/public-api.sh --update" >&2
        exit 1
    }
fi
