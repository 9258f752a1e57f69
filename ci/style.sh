#!/usr/bin/env bash
# Proves: the sources are formatted; compiler and clippy have no warning for any target of the
# workspace with all features, or of the library with none; the targets of cargo-fuzz, which are not in
# the workspace, compile; and the documentation builds without a warning.
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
