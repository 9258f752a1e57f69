"""Runs the built examples, and checks what they print and serve.

Usage: check_examples.py FOLDER, where FOLDER is target/release.
"""

import contextlib
import http.server
import json
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

FOLDER = pathlib.Path(sys.argv[1]).resolve()
PLUGINS = ["bursty", "crashy", "events", "leaky", "steady", "wrapper"]


def run(program, *arguments):
    """The standard output of a program that exits by itself."""
    command = [FOLDER / program, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout


@contextlib.contextmanager
def served(program, *arguments):
    """The address that a server prints first. It is killed at the end; its children exit with it."""
    command = [FOLDER / program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield re.match(r"http://\S*", server.stdout.readline()).group().rstrip("/")
        finally:
            server.kill()


@contextlib.contextmanager
def receiver():
    """The URL of a receiver of OTLP, and the requests that it has accepted."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append((self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/metrics", requests
        server.shutdown()


def get(url):
    return urllib.request.urlopen(url, timeout=10).read().decode()


def equal(found, expected):
    if found != expected:
        sys.exit(f"expected {expected!r}, found {found!r}")


def check_pages(root, plugins):
    # The server may answer before the first publication of the plugins.
    for _ in range(100):
        document = json.loads(get(root + "/api/metrics"))
        names = sorted(plugin["plugin_name"] for plugin in document["plugins"])
        if names == plugins:
            break
        time.sleep(0.1)
    equal(names, plugins)
    page = get(root + "/")
    equal([name for name in plugins if name not in page], [])
    equal(get(root + "/metrics").count("\nplugin_up{"), len(plugins))


report = json.loads(run("examples/aggregates", "--for", "2", "--json"))
equal(sorted(report), ["plugins", "sampler", "system"])
equal(len(report["plugins"]), len(PLUGINS))

run("examples/global")

for host in ["examples/limits", "limits_host"]:
    output = run(host).splitlines()
    equal(sum(line.startswith("leaky: limit exceeded: memory") for line in output) >= 2, True)
    equal("crashy: limit exceeded: crashes 3 within 10 minutes, above 2" in output, True)

output = run("tokio_host")
equal("crashing 1.2: exit code 3" in output.splitlines(), True)

with served("examples/dashboard", "--port", "0") as root:
    check_pages(root, PLUGINS)

with tempfile.TemporaryDirectory() as folder:
    store = pathlib.Path(folder) / "plugmeter.db"
    counts = []
    for _ in range(2):
        # Killed at the end, at no particular moment.
        with served("examples/recorded", "--port", "0", str(store)) as root:
            check_pages(root, PLUGINS)
            time.sleep(5)
            plugins = json.loads(get(root + "/api/metrics"))["plugins"]
            counts.append({plugin["plugin_name"]: plugin["event_count"] for plugin in plugins})
    equal(counts[1]["events"] > counts[0]["events"] > 0, True)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        equal(connection.execute("SELECT count(*) FROM sessions").fetchone(), (2,))
        gone = "SELECT count(*) FROM runs WHERE end_kind = 'host_gone' AND plugin = 'steady'"
        equal(connection.execute(gone).fetchone(), (1,))

with served("axum_host", "127.0.0.1:0") as root:
    check_pages(root, ["dice"])

with served("examples/scrape", "127.0.0.1:0") as url:
    equal(get(url).count("\nplugin_up{"), len(PLUGINS))

# Exits with 1 if an invariant does not hold.
print(run("examples/soak", "5"))

for host in ["push", "opentelemetry"]:
    with receiver() as (url, requests):
        run(host, url, "3")
        equal({path for path, _, _ in requests}, {"/v1/metrics"})
        equal({headers["Content-Type"] for _, headers, _ in requests}, {"application/x-protobuf"})
        bodies = b"".join(body for _, _, body in requests)
        equal([name for name in ["plugin.cpu", "plugmeter.ticks", *PLUGINS] if name.encode() not in bodies], [])
        equal(len(requests) >= 3, True)
