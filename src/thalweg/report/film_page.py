"""A film as a page that plays it: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from importlib.resources import files

from thalweg.report.film import FPS, Film
from thalweg.theme import FAINT, GREY, GRID, INK, theme

DPI = 200  # of the background
UNITS = 100  # of the page's picture, an inch


def html(film: Film) -> bytes:
    """A page that plays it, in one file that needs no network."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    wide, high = (round(UNITS * x) for x in film.figure.get_size_inches())

    def down(x: float, y: float) -> list[float]:
        return [round(float(wide * x), 1), round(float(high * (1 - y)), 1)]

    left, bottom, width, height = film.window
    rows = iter(film.rows)
    data = {
        "fps": FPS,
        "steps": film.steps,
        "edge": down(film.edge, 0)[0],
        "tracks": [
            {
                "name": t.name,
                "colour": t.colour,
                "width": 3.0 if t.name else 1.7,
                "row": down(0, next(rows))[1] if t.name else None,
                "points": [down(*p) for p in t.points],
                "readings": list(t.readings) if t.name else [],
            }
            for t in film.tracks
        ],
    }
    # "</script>" in a name would end the script.
    film_data = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    environment = Environment(
        loader=PackageLoader("thalweg.report", "."), autoescape=True, undefined=StrictUndefined
    )
    script = (files("thalweg.report") / "film.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("film.html.j2").render(
        title=film.title, caption=film.caption, width=wide, height=high, steps=film.steps,
        window=[*down(left, bottom + height), wide * width, high * height],
        clock=down(*film.clock), film=Markup(film_data),
        script=Markup(script), script_hash=Markup(f"'sha256-{digest}'"),
        background=base64.b64encode(_background(film)).decode(),
        ink=INK, faint=FAINT, grid=GRID, grey=GREY,
    )  # fmt: skip
    return page.encode(errors="replace")


def _background(film: Film) -> bytes:
    file = io.BytesIO()
    with theme():
        film.figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
