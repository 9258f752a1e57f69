#!/usr/bin/env bash
# Proves: the README's main command shows what it should on real processes, as text and as JSON, its
# Rust code compiles, and the other examples run; the benches build.
set -euo pipefail
cd "$(dirname "$0")/.."

command="cargo run --release --example aggregates"
grep -qxF "$command" README.md || { echo "README.md does not say: $command" >&2; exit 1; }

# Each piece of code as a function, of what its text speaks of; in a place of its own beside the examples.
code=examples/code_of_the_readme.rs
trap 'rm -f "$code"' EXIT
python3 -c '
import re
blocks = re.findall(r"^```rust\n(.*?)^```$", open("README.md").read(), re.M | re.S)
assert len(blocks) >= 3, len(blocks)
print("#![allow(warnings)]")
for number, block in enumerate(blocks):
    print("fn piece_%d(accept: &str, reader: &plugmeter::Reader, mut page_of_the_bot: String)" % number)
    print("    -> Result<(), Box<dyn std::error::Error>> {\n    use plugmeter::*;\n" + block + "    Ok(())\n}")
print("fn main() {}")
' >"$code"
cargo check --locked --all-features --example code_of_the_readme
rm "$code"

cargo build --locked --release --all-features --examples
$command -- --for 3
$command -- --for 2 --json | python3 -c '
import json, sys
document = json.load(sys.stdin)
assert sorted(document) == ["plugins", "sampler", "system"], sorted(document)
assert len(document["plugins"]) == 5, len(document["plugins"])
'
cargo run --locked --release --example global
# On a terminal of its own, until somebody presses q.
if script --version 2>/dev/null | grep -q util-linux; then
    top="cargo run --locked --release --all-features --example top -- --interval 0.2"
    screen=$(mktemp)
    { for _ in {1..300}; do ! grep -q "sampler " "$screen" || break; sleep 0.2; done; printf q; sleep 1; } |
        TERM=xterm-256color timeout 90 script -qec "stty rows 24 cols 80; $top" /dev/null >"$screen"
    grep -q "sampler " "$screen" || { echo "top has shown nothing: $(cat "$screen")" >&2; exit 1; }
    rm "$screen"
else
    echo "SKIPPED: no \`script\` of util-linux on this machine, and so no terminal for top" >&2
fi
# Not `grep -q`, which would hang up on it.
cargo run --locked --release --example tokio_host | grep -x "crashing 1.2: exit code 3"
# Until they are killed: their children end with them.
python3 -c '
import json, re, subprocess, urllib.request
for example, arguments in [("dashboard", ["--port", "0"]), ("axum_host", ["127.0.0.1:0"])]:
    command = "cargo run --locked --release --all-features --example".split()
    command += [example, "--"] + arguments
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        try:
            root = re.match("http://[0-9.:]+/[a-z]*", host.stdout.readline()).group().rstrip("/")
            ask = lambda path: urllib.request.urlopen(root + path, timeout=10).read().decode()
            names = [plugin["plugin_name"] for plugin in json.loads(ask("/api/metrics"))["plugins"]]
            assert len(names) == (5 if example == "dashboard" else 1), names
            assert all(name in ask("") for name in names)
            assert "plugin_up{" in ask("/metrics")
        finally:
            host.kill()
'
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
