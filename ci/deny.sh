#!/usr/bin/env bash
# Proves: all dependencies have a licence that anybody can use, come from crates.io, and are none of the
# crates and versions that deny.toml bans; every dependency in a Cargo.toml is used; and the features
# `opentelemetry` and `otlp` add as few crates as documented. Also checks for known vulnerabilities; that
# part is skipped where the advisory database is not available.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-deny 0.20.2
cargo deny --locked check --hide-inclusion-graph licenses bans sources
if cargo deny fetch db 2>/dev/null; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "SKIPPED: the advisory database is not available on this machine" >&2
fi

need cargo-machete 0.9.2
cargo machete --skip-target-dir

# added FEATURE: the crates that a feature adds to those of the default ones.
added() {
    diff <(cargo tree --locked -p plugmeter --edges normal --prefix none --format '{lib}' | sort -u) \
        <(cargo tree --locked -p plugmeter --edges normal --prefix none --format '{lib}' \
            --features "$1" | sort -u) | sed -n 's/^> //p'
}
[ "$(added opentelemetry)" = opentelemetry ] || {
    echo "the feature opentelemetry adds more than the crate of the API:" >&2
    added opentelemetry >&2
    exit 1
}
[ "$(added otlp | wc -l)" -lt 10 ] || {
    echo "the feature otlp adds ten crates or more:" >&2
    added otlp >&2
    exit 1
}
