#!/usr/bin/env bash
# Proves: the sources are formatted, neither compiler nor clippy has anything to say about any
# target with all features or with none, and the documentation builds without a warning.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
for features in --all-features --no-default-features; do
    cargo clippy --locked --all-targets "$features" -- -D warnings
done
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features --document-private-items
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
