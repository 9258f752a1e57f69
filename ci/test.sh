#!/usr/bin/env bash
# Proves: the README's test command passes, and the library's tests pass without any feature. The test
# command also compiles the README's Rust code.
set -euo pipefail
cd "$(dirname "$0")/.."

command="cargo test --workspace --all-features"
grep -qxF "$command" README.md || { echo "README.md does not contain: $command" >&2; exit 1; }

cargo test --locked -p plugmeter --no-default-features
$command
