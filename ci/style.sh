#!/usr/bin/env bash
# Proves: the sources are formatted; compiler and clippy have no warning for any target of the
# workspace with all features, or of the library with none; the targets of cargo-fuzz, which are not in
# the workspace, compile; the documentation builds without a warning; and the dashboard for Grafana is the
# one that its script prints.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
cargo clippy --locked -p plugmeter --all-targets --no-default-features -- -D warnings
RUSTFLAGS="--cfg fuzzing -D warnings" cargo check --locked --manifest-path fuzz/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/fuzz-check"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --all-features --document-private-items
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps -p plugmeter --all-features

python3 examples/fleet/dashboard.py | diff -u examples/fleet/dashboard.json - || {
    echo "run: python3 examples/fleet/dashboard.py >examples/fleet/dashboard.json" >&2
    exit 1
}
