#!/usr/bin/env bash
# Proves: the README's test command passes, and so do the tests without any feature.
set -euo pipefail
cd "$(dirname "$0")/.."

command="cargo test --all-features"
grep -qxF "$command" README.md || { echo "README.md does not say: $command" >&2; exit 1; }

cargo test --locked --no-default-features
$command
