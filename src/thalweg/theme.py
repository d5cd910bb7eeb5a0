"""One look for every figure: ink, grid, and a colour per algorithm that is the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thalweg.optim.registry import Algorithm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, GREY = "#1c2127", "#5b6470", "#e6e8eb", "#b9bdc4"
LETTER = 0.096  # inches: a wide one of a label at a line's end
COLOURED = 8  # series in colour at once, at most: more cannot be kept apart by eye

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # real text: it can be searched, and takes the page's font
    "svg.hashsalt": "thalweg",  # the same figure gives the same file
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


@contextmanager
def theme() -> Iterator[None]:
    """Matplotlib in thalweg's style and no other, for the figures made inside: a reader's own
    settings (TeX, say) cannot spoil them."""
    import matplotlib

    # The backend is not touched: it would be loaded.
    own = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    style: Any = {**own, **STYLE}  # matplotlib's types name each key
    with matplotlib.rc_context(style):
        yield


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one plot, its size in inches; no global state of pyplot's is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def colours(ranked: Sequence[Algorithm]) -> dict[str, str]:
    """Algorithm's name -> its colour. Grey from ``COLOURED`` on, and for one whose colour a better
    ranked one has: there are more algorithms than colours that can be kept apart."""
    found: dict[str, str] = {}
    for a in ranked:
        used = set(found.values()) - {GREY}
        free = a.colour not in used and len(used) < COLOURED
        found[a.name] = a.colour if free else GREY
    return found


def settle(figure: Figure) -> None:
    """Lay the figure out now: labels are placed by where the axes lie."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()


def room_for_labels(figure: Figure, letters: int) -> None:
    """Leave room at the right for names of so many letters, in whatever font a page has."""
    share = (letters * LETTER + 0.3) / figure.get_figwidth()
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, 0, 1 - share, 1))


def label_ends(
    axes: Axes, ends: Sequence[tuple[float, float, str, str]], size: float = 10.5
) -> None:
    """Names at the right end of lines, moved up and down until none overlaps another; ``ends`` are
    (x, y, label, colour) in data coordinates. Takes the place of a legend. Call :func:`settle`
    first."""
    if not ends:
        return
    figure: Any = axes.figure
    height = axes.get_window_extent().height or 1.0
    lines = max(label.count("\n") for _, _, label, _ in ends) + 1
    step = (1.15 * lines + 0.2) * size * figure.dpi / 72 / height  # text as a share of the axes
    to_axes = axes.transData + axes.transAxes.inverted()
    at = [float(to_axes.transform((x, y))[1]) for x, y, _, _ in ends]
    for (x, y, label, colour), place in zip(ends, spread(at, step), strict=True):
        note = axes.annotate(
            label,
            xy=(x, y),
            xytext=(1.045, place),
            textcoords="axes fraction",
            color=FAINT if colour == GREY else readable(colour),
            fontsize=size,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "shrinkA": 2,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )
        note.set_in_layout(False)  # room has been made for it already


def plain_log(axis: Any) -> None:
    """0.01, 0.1, 1 on a logarithmic axis, and 10⁻⁶ only where that is shorter."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    def name(x: float, _: Any) -> str:
        if not 0 < x < math.inf:  # below or above what a float can hold
            return ""
        power = round(math.log10(x))
        return f"{x:g}" if -4 <= power <= 4 else f"$10^{{{power}}}$"

    axis.set_major_formatter(FuncFormatter(name))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def readable(colour: str) -> str:
    """The colour, darkened until text in it has a contrast of 4.5 to white (WCAG 2, level AA)."""
    from matplotlib.colors import to_hex, to_rgb

    rgb = to_rgb(colour)
    while 1.05 / (0.05 + _luminance(rgb)) < 4.5:
        rgb = (0.95 * rgb[0], 0.95 * rgb[1], 0.95 * rgb[2])
    return to_hex(rgb)


def _luminance(rgb: tuple[float, float, float]) -> float:
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def spread(
    wanted: Sequence[float], step: float, low: float = 0.0, high: float = 1.0
) -> list[float]:
    """Places at least ``step`` apart, in the order of the wanted ones and near them, between
    ``low`` and ``high`` as long as there is room."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    high = max(high, low + step * (len(wanted) - 1))
    # Neighbours that crowd each other are merged into a block around the mean of what they want.
    blocks: list[tuple[float, list[int]]] = []
    for i in order:
        members = [i]
        while True:
            reach = step * (len(members) - 1)
            mean = sum(wanted[m] for m in members) / len(members) - reach / 2
            first = min(max(mean, low), high - reach)
            if not blocks or blocks[-1][0] + step * len(blocks[-1][1]) <= first:
                break
            members = blocks.pop()[1] + members
        blocks.append((first, members))
    places = [0.0] * len(wanted)
    for first, members in blocks:
        for k, i in enumerate(members):
            places[i] = first + k * step
    return places
