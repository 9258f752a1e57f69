#!/usr/bin/env bash
# Proves: the README's first command reports six plugins, builds none of the libraries that only
# tests, benches and other examples need; and all examples run, print what they should, and serve what
# they should. The terminal program has tests of its own. All but the first are built without optimization,
# as for the tests: a second build of all dependencies would take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

command="cargo run --release --example aggregates"
grep -qxF "$command" README.md || { echo "README.md does not contain: $command" >&2; exit 1; }

# Before the build with all features, as after a clone.
tree=$(cargo tree --locked --prefix none --format '{p}')
for library in axum criterion dhat proptest ratatui tokio tungstenite; do
    if grep -q "^$library v" <<<"$tree"; then
        echo "the first command would build $library: move what needs it to a member package" >&2
        exit 1
    fi
done
$command -- --for 3

cargo build --locked --workspace --all-features --examples --bins
python3 ci/tools/check_examples.py "${CARGO_TARGET_DIR:-target}/debug"
