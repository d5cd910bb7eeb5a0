"""A film of descents: one still background, and over it paths that grow with the steps.

Everything that moves is known as lines in the figure's own coordinates, so that a frame costs only
its lines, and the page in the browser draws them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.report.ground import Array
from thalweg.theme import FAINT, INK, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

FPS = 20  # steps a second


@dataclass(frozen=True, eq=False)
class Track:
    """One path, and what its line of the table says at each step.

    ``points`` [steps + 1, 2] are in shares of the figure from its lower left corner; a path that
    has left the picture stays where it left. ``name`` is empty for one in grey.
    """

    name: str
    colour: str
    points: Array
    readings: Sequence[str]


@dataclass(frozen=True, eq=False)
class Film:
    """The background, the tracks (the best first), and where their names and readings stand.

    ``window`` is the part of the figure that shows paths: left, bottom, width, height in shares;
    ``rows`` are the base lines of the table's readings, one for each track with a name, ``edge`` is
    their right end, ``clock`` the place of the step's number.
    """

    figure: Figure
    title: str
    caption: str
    tracks: Sequence[Track]
    window: tuple[float, float, float, float]
    rows: Sequence[float]
    edge: float
    clock: tuple[float, float]

    @property
    def steps(self) -> int:
        """How many, without the start."""
        return len(self.tracks[0].points) - 1

    def frames(self, dpi: int, steps: Sequence[int] | None = None) -> Iterator[Pixels]:
        """Pictures [height, width, 4] of bytes, one a step; each is valid until the next is asked
        for."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with theme():
            figure: Any = self.figure
            figure.set_dpi(dpi)
            canvas: Any = FigureCanvasAgg(figure)
            moving = self._moving()
            try:
                canvas.draw()
                still = canvas.copy_from_bbox(figure.bbox)
                for step in range(self.steps + 1) if steps is None else steps:
                    canvas.restore_region(still)
                    for artist in moving(step):
                        figure.draw_artist(artist)
                    yield np.asarray(canvas.buffer_rgba())
            finally:
                for artist in moving(0):
                    artist.remove()

    def _moving(self) -> Any:
        """A function of the step that gives what is to be drawn in it, in order."""
        from matplotlib.lines import Line2D
        from matplotlib.patheffects import Normal, Stroke
        from matplotlib.transforms import Bbox, TransformedBbox

        figure: Any = self.figure
        clip = TransformedBbox(Bbox.from_bounds(*self.window), figure.transFigure)
        lines, heads = [], []
        for t in self.tracks:
            width = 2.2 if t.name else 1.2
            rim: Any = [Stroke(linewidth=width + 1.6, foreground="white", alpha=0.9), Normal()]
            common: Any = {"color": t.colour, "transform": figure.transFigure, "animated": True}
            lines.append(
                Line2D([], [], linewidth=width, path_effects=rim, solid_joinstyle="round", **common)
            )
            heads.append(
                Line2D(
                    [], [], marker="o", markersize=8 if t.name else 5, markeredgecolor="white",
                    markeredgewidth=1.2, **common,
                )
            )  # fmt: skip
            for artist in (lines[-1], heads[-1]):
                figure.add_artist(artist)
                artist.set_clip_box(clip if artist is lines[-1] else None)
        quiet = {"ha": "right", "fontsize": 10, "color": FAINT, "animated": True}
        words = [figure.text(self.edge, y, "", quiet) for y in self.rows]
        clock = figure.text(*self.clock, "", fontsize=11, color=INK, animated=True)
        for artist in (*words, clock):
            artist.set_in_layout(False)
        backwards = list(range(len(self.tracks)))[::-1]  # the best on top

        def at(step: int) -> list[Any]:
            for t, line, head in zip(self.tracks, lines, heads, strict=True):
                line.set_data(*t.points[: step + 1].T)
                head.set_data(*t.points[step : step + 1].T)
            named = [t for t in self.tracks if t.name]
            for t, word in zip(named, words, strict=True):
                word.set_text(t.readings[step])
            clock.set_text(f"step {step}")
            return [*(lines[i] for i in backwards), *(heads[i] for i in backwards), *words, clock]

        return at
