#!/usr/bin/env bash
# Proves: the sources are formatted, neither compiler nor clippy has anything to say about any
# target with all features or with none, the targets of cargo-fuzz, which are no part of the package,
# still fit the crate, and the documentation builds without a warning.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
for features in --all-features --no-default-features; do
    cargo clippy --locked --all-targets "$features" -- -D warnings
done
RUSTFLAGS="--cfg fuzzing -D warnings" cargo check --locked --manifest-path fuzz/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/fuzz-check"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features --document-private-items
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
