#!/usr/bin/env bash
# Proves: the README's main command shows what it should on real processes, as text and as JSON,
# and the other examples run; the benches build.
set -euo pipefail
cd "$(dirname "$0")/.."

command="cargo run --release --example aggregates"
grep -qxF "$command" README.md || { echo "README.md does not say: $command" >&2; exit 1; }

cargo build --locked --release --all-features --examples
$command -- --for 3
$command -- --for 2 --json | python3 -c '
import json, sys
document = json.load(sys.stdin)
assert sorted(document) == ["plugins", "sampler", "system"], sorted(document)
assert len(document["plugins"]) == 5, len(document["plugins"])
'
cargo run --locked --release --example global
# Until it is killed: its children end with it.
python3 -c '
import subprocess, urllib.request
command = "cargo run --locked --release --all-features --example scrape -- 127.0.0.1:0"
with subprocess.Popen(command.split(), stdout=subprocess.PIPE, text=True) as scrape:
    try:
        with urllib.request.urlopen(scrape.stdout.readline().strip(), timeout=10) as answer:
            page = answer.read().decode()
        assert page.count("\nplugin_up{") == 5, page
    finally:
        scrape.kill()
'
# A few seconds of what is meant to be hours: it ends with 1 if something does not hold.
cargo run --locked --release --all-features --example soak -- 5
cargo bench --locked --all-features --no-run
