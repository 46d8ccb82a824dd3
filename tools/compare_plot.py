# SPDX-License-Identifier: Apache-2.0
"""The plot of tools/compare: time over size on logarithmic axes, a panel per collective, a line per
column, written as SVG by hand."""
import math
from html import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 130, 40, 60
COLOURS = {"weft": "#0b5fa5", "weft mem": "#3fa7f0", "openmpi": "#d1495b", "mpich": "#edae49",
           "gloo": "#2e8b57", "floor": "#888888"}


def size_text(size):
    for scale, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= scale and size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"


def time_text(us):
    for scale, unit in ((1e6, "s"), (1e3, "ms"), (1, "µs")):
        if us >= scale:
            return f"{us / scale:g} {unit}"
    return f"{us:g} µs"


class Axis:
    """Maps logarithms of [low, high] to [begin, end]."""

    def __init__(self, low, high, begin, end):
        self.low = math.log(low)
        self.scale = (end - begin) / (math.log(high) - self.low) if high > low else 0
        self.begin = begin

    def at(self, value):
        return self.begin + (math.log(value) - self.low) * self.scale


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def grid(x_axis, y_axis, sizes, decades):
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for decade in decades:
        y = y_axis.at(decade)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(text(LEFT - 8, y + 4, time_text(decade), "end"))
    step = -(-len(sizes) // 8)
    for i, size in enumerate(sizes):
        x = x_axis.at(size)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        if i % step == 0:
            parts.append(text(x, bottom + 18, size_text(size)))
    parts.append(text((LEFT + right) / 2, HEIGHT - 16, "size"))
    middle = (TOP + bottom) / 2
    parts.append(text(18, middle, "time of a call", more=f' transform="rotate(-90 18 {middle})"'))
    return parts


def panel(run):
    rows = run["results"]
    sizes = [row["bytes"] for row in rows]
    times = [value for row in rows for value in row["median_us"].values()]
    least, most = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    decades = [10.0 ** n for n in range(least, max(most, least + 1) + 1)]
    x_axis = Axis(sizes[0], sizes[-1], LEFT, WIDTH - RIGHT)
    y_axis = Axis(decades[0], decades[-1], HEIGHT - BOTTOM, TOP)
    parts = [text(LEFT, 24, f"{run['collective']} float32, {run['scene']}, medians of "
                            f"{run['rounds']} rounds", "start", ' class="title"')]
    parts += grid(x_axis, y_axis, sizes, decades)
    names = dict.fromkeys(name for row in rows for name in row["median_us"])
    for i, name in enumerate(names):
        points = [(x_axis.at(row["bytes"]), y_axis.at(row["median_us"][name]))
                  for row in rows if name in row["median_us"]]
        colour = COLOURS.get(name, "#000000")
        dash = ' stroke-dasharray="5 4"' if name == "floor" else ""
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" stroke="{colour}"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = WIDTH - RIGHT + 16, TOP + 12 + 22 * i
        parts.append(f'<path d="M{x} {y}h22" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(text(x + 30, y + 4, name, "start"))
    return parts


def write_svg(path, runs):
    height = HEIGHT * len(runs)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
             f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
             "<style>polyline{fill:none;stroke-width:2}.grid{stroke:#ddd}.title{font-size:15px}"
             "</style>", f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for i, run in enumerate(runs):
        lines += [f'<g transform="translate(0 {i * HEIGHT})">', *panel(run), "</g>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines + ["</svg>"]) + "\n")
