#!/usr/bin/env bash
# Proves: the library type-checks for Windows and macOS, where the portable probe reads processes.
# Skipped where the standard library of a target is not available.
set -euo pipefail
cd "$(dirname "$0")/.."

# A check does not link: the C compiler for the target, which would compile SQLite, is not needed.
export LIBSQLITE3_SYS_USE_PKG_CONFIG=1

for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
    if rustup target add "$target" 2>/dev/null; then
        RUSTFLAGS="-D warnings" cargo check --locked -p plugmeter --all-features --target "$target" \
            --target-dir "${CARGO_TARGET_DIR:-target}/cross"
    else
        echo "SKIPPED: the standard library of $target is not available on this machine" >&2
    fi
done
