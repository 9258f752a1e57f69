#!/usr/bin/env bash
# Proves: the public face is the one that ci/face.txt spells out, line by line, so that nobody
# changes it without seeing it. `ci/face.sh --update` writes that file anew, to be reviewed with the
# change. Skipped, and says so, without a nightly toolchain, whose rustdoc it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need_nightly
need cargo-public-api 0.52.0

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/face"
# Without what every type has by itself and by blanket implementations.
face=$(cargo "+$toolchain" public-api --all-features -ss 2>/dev/null) || {
    cargo "+$toolchain" public-api --all-features -ss >/dev/null
    exit 1
}
if [ "${1:-}" = --update ]; then
    echo "$face" >ci/face.txt
else
    diff -u ci/face.txt <(echo "$face") || {
        echo "the public face has changed; if that is meant: ci/face.sh --update" >&2
        exit 1
    }
fi
