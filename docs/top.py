#!/usr/bin/env python3
"""Writes docs/top.svg: the screen of plugmeter-top in a terminal of tmux, after SECONDS.

    cargo build --release -p plugmeter-top && python3 docs/top.py [SECONDS] [KEYS...]

The picture is what tmux says the screen holds. Letters are text; blocks are drawn, so that they join
whatever the font.
"""

import os
import pathlib
import re
import subprocess
import sys
import time
from xml.sax.saxutils import escape

COLUMNS, LINES = 110, 20
CELL_W, CELL_H, MARGIN = 8.4, 18, 12
GROUND, INK = "#16181d", "#d7dae0"
COLOURS = {31: "#f0616d", 32: "#5fbf77", 33: "#e0b252", 34: "#6ea8fe", 35: "#c58af9", 36: "#4fc3d9"}
BLOCKS = "▁▂▃▄▅▆▇█"


def capture(seconds, keys):
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    command = [f"{target}/release/plugmeter-top", "--interval", "0.5"]
    tmux = ["tmux", "-L", f"picture-{os.getpid()}", "-u", "-f", "/dev/null"]
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    subprocess.run([*tmux, "new-session", "-d", *size, *command], check=True)
    try:
        time.sleep(seconds)
        for key in keys:
            subprocess.run([*tmux, "send-keys", key], check=True)
            time.sleep(1)
        shown = subprocess.run([*tmux, "capture-pane", "-e", "-N", "-p"], check=True, stdout=subprocess.PIPE)
        subprocess.run([*tmux, "send-keys", "q"], check=True)
        time.sleep(3)  # it stops its children
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)
    return shown.stdout.decode()


def runs(line, style):
    """Pieces of a line that look the same: where they begin, the text, the style."""
    x, pieces = 0, []
    for sgr, text in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b]+)", line):
        if text:
            pieces.append((x, text, frozenset(style)))
            x += len(text)
            continue
        for code in (int(code or 0) for code in re.sub(r"38;5;([0-7])(?!\d)", r"3\1", sgr).split(";")):
            if code == 0:
                style.clear()
            elif code == 39:
                style.difference_update(COLOURS)
            elif code in COLOURS:
                style.difference_update(COLOURS)
                style.add(code)
            else:
                style.add(code)
    return pieces


def svg(screen):
    width, height = COLUMNS * CELL_W + 2 * MARGIN, LINES * CELL_H + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        ' font-family="ui-monospace,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>',
    ]
    style = set()
    for row, line in enumerate(screen.split("\n")[:LINES]):
        top = MARGIN + row * CELL_H
        for column, text, look in runs(line, style):
            left = MARGIN + column * CELL_W
            ink = next((COLOURS[code] for code in look if code in COLOURS), INK)
            if 7 in look:
                out.append(
                    f'<rect x="{left:.1f}" y="{top}" width="{len(text) * CELL_W:.1f}" height="{CELL_H}" fill="{ink}" shape-rendering="crispEdges"/>'
                )
                ink = GROUND
            extra = ' font-weight="bold"' if 1 in look else ""
            extra += ' opacity="0.6"' if 2 in look else ""
            extra += ' text-decoration="underline"' if 4 in look else ""
            for match in re.finditer(rf"[{BLOCKS}]+|[^ {BLOCKS}]+(?: [^ {BLOCKS}]+)*", text):
                x = left + match.start() * CELL_W
                if match[0][0] in BLOCKS:
                    path = "".join(
                        f"M{x + nth * CELL_W:.1f} {top + CELL_H}h{CELL_W}v-{CELL_H * (1 + BLOCKS.index(block)) / 8:g}h-{CELL_W}z"
                        for nth, block in enumerate(match[0])
                    )
                    out.append(f'<path d="{path}" fill="{ink}"/>')
                else:
                    length = len(match[0]) * CELL_W
                    out.append(
                        f'<text x="{x:.1f}" y="{top + 13.5}" textLength="{length:.1f}" fill="{ink}"{extra}>'
                        f"{escape(match[0])}</text>"
                    )
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    seconds, keys = float(sys.argv[1]) if len(sys.argv) > 1 else 45, sys.argv[2:]
    path = pathlib.Path(__file__).with_name("top.svg")
    path.write_text(svg(capture(seconds, keys)), encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes")
