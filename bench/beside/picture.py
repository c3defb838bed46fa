"""Draws results.svg out of peers.json. Run by plot.py, with matplotlib's own Python."""

import json
import sys
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from beside import figures  # noqa: E402 (found by the line above)

matplotlib.use("svg")
# The same figures are the same file.
matplotlib.rcParams["svg.hashsalt"] = "wininetd"
OURS, OTHERS, FLOOR = "#c0392b", "#7f8c8d", "#2c3e50"


def panels(results):
    """Title, figures, and whether the axis is logarithmic."""
    for name in ("1 at once", "32 at once", "256 at once", "32 at once, nobody"):
        yield f"Short connections, {name}: share of the floor", shares(results.get("short", {}).get(name, {})), False
    for name, case in results.get("first", {}).items():
        yield f"First byte, {name}: ms", medians(case, "ms"), True
    for name, case in results.get("bulk", {}).items():
        yield f"Bulk {name}: MiB/s", medians(case, "mib_s"), False
    for name, case in results.get("tls", {}).items():
        yield f"TLS {name}", medians(case, "a_second" if name == "handshakes" else "mib_s"), False
    for name, case in results.get("memory", {}).items():
        yield f"Memory, {name}: PSS in MiB", medians(case, "pss_mib"), True
    for name, case in results.get("burst", {}).items():
        yield f"Burst, {name}: ms to the last answer", medians(case, "max_ms"), True


def medians(case, key):
    return {name: (value, value, value) for name in case if (value := figures.median(case[name], key))}


def shares(case):
    found = {name: figures.of_other(case, name, "floor", "conn_per_s") for name in case if name != "floor"}
    return {name: value for name, value in found.items() if value}


def color(name):
    return OURS if name.startswith("wininetd") else FLOOR if name == "floor" else OTHERS


def draw_panel(axes, title, found, is_logarithmic):
    names = sorted(found, key=lambda name: found[name][0])
    middle = [found[name][0] for name in names]
    around = [[found[name][0] - found[name][1] for name in names], [found[name][2] - found[name][0] for name in names]]
    axes.barh(names, middle, color=[color(name) for name in names])
    if any(map(any, around)):
        axes.errorbar(middle, names, xerr=around, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
        axes.axvline(1.0, color=FLOOR, linewidth=0.8, linestyle="--")
    for name, value in zip(names, middle):
        text = f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
        axes.text(0.01, name, text, transform=axes.get_yaxis_transform(), fontsize=6, color="white", va="center")
    if is_logarithmic:
        axes.set_xscale("log")
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def main():
    from matplotlib import pyplot

    measured = json.loads(Path(sys.argv[1]).read_text())
    found = [panel for panel in panels(measured["results"]) if panel[1]]
    lines = max(1, (len(found) + 1) // 2)
    figure, grid = pyplot.subplots(lines, 2, figsize=(11, 2.6 * lines), squeeze=False)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, found):
        draw_panel(axes, *panel)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
