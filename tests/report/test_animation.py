"""Films: every frame shows the paths as far as they got, in every format."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from thalweg.optim.registry import ALGORITHMS
from thalweg.problems.landscapes import LANDSCAPES
from thalweg.report import film_page, film_video
from thalweg.report.animation import contour_race, saddle_race
from thalweg.report.runs import leaving, runs
from thalweg.theme import COLOURED

CHROMIUM = shutil.which("chromium")
REQUIRED = os.environ.get("THALWEG_REQUIRE_BROWSER") == "1"
STEPS = 8

# What is shown at the end goes where a test can read it.
PROBE = """<script>
setTimeout(() => document.title = JSON.stringify([
  get('now').textContent, button.textContent, document.querySelector('polyline').points.length,
]), 1500);
</script>
"""


def make(race, name, names, rate=0.05, steps=STEPS):
    f = LANDSCAPES[name]
    found = runs(f, f.starts[0], [ALGORITHMS[n] for n in names], steps, rate)
    return race(f, found, "Caption."), found


@pytest.fixture(scope="module")
def films():
    names = ["sgd", "rmsprop", "adam"]
    return {
        "contour": make(contour_race, "himmelblau", names, rate=0.01)[0],
        "saddle": make(saddle_race, "saddle", names)[0],
    }


@pytest.fixture(params=["contour", "saddle"])
def film(request, films):
    return films[request.param]


def test_a_frame_a_step_with_the_heads_where_they_are(film):
    frames = [f.copy() for f in film.frames(100)]
    assert len(frames) == STEPS + 1 == film.steps + 1
    high, wide, _ = frames[0].shape
    best = film.tracks[0]  # drawn last, on top of all others
    for step, frame in enumerate(frames):
        x, y = best.points[step]
        pixel = frame[int(high * (1 - y)), int(wide * x), :3] / 255
        np.testing.assert_allclose(pixel, to_rgb(best.colour), atol=0.01)
    assert len({f.tobytes() for f in frames}) == len(frames)


def test_a_path_grows_and_leaves_no_trace_of_later_steps(film):
    first, again = (next(iter(film.frames(100, [s]))).copy() for s in (0, 0))
    *_, last = (f.copy() for f in film.frames(100))
    assert (first == again).all()
    assert (first != last).any()


def test_a_gif_shows_the_frames(film):
    image = Image.open(io.BytesIO(film_video.gif(film)))
    shown = [np.asarray(f.convert("RGB"), int) for f in ImageSequence.Iterator(image)]
    wanted = [f[..., :3].astype(int) for f in film.frames(film_video.DPI_GIF)]
    assert image.info["loop"] == 0
    assert len(shown) == len(wanted)
    for one, two in zip(shown, wanted, strict=True):
        # A palette has 255 colours: shades within a rim are the nearest ones.
        assert np.abs(one - two).mean() < 1.5
        assert (np.abs(one - two).max(axis=-1) > 48).mean() < 2e-4


def test_the_last_frame_of_a_gif_stays(film):
    image = Image.open(io.BytesIO(film_video.gif(film)))
    times = [f.info["duration"] for f in ImageSequence.Iterator(image)]
    assert times == [50] * STEPS + [2000]


def test_the_same_film_gives_the_same_files(films):
    film = films["contour"]
    assert film_video.gif(film) == film_video.gif(film)
    assert film_page.html(film) == film_page.html(film)


def test_the_page_needs_nothing_from_outside(film):
    text = film_page.html(film).decode()
    references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert references
    assert all("".join(r).startswith(("#", "data:image/png;base64,")) for r in references)
    assert "http://www.w3.org" in text  # SVG's name, which nobody fetches
    assert len(re.findall("https?://", text)) == 1
    assert len(text) < 10e6


def test_the_page_has_every_step(film):
    text = film_page.html(film).decode()
    found = re.search(r'<script type="application/json" id="film">(.*)</script>', text)
    assert found is not None
    data = json.loads(found[1])
    assert data["steps"] == STEPS
    for track, own in zip(data["tracks"], film.tracks, strict=True):
        assert track["name"] == own.name
        assert len(track["points"]) == len(track["readings"]) == STEPS + 1
        x, y = np.array(track["points"]).T
        assert x / 760 == pytest.approx(own.points[:, 0], abs=1e-4)
        assert 1 - y / 490 == pytest.approx(own.points[:, 1], abs=2e-4)


def test_a_name_cannot_end_the_script(films):
    film = films["contour"]
    film.tracks[0].__dict__["name"], old = "</script><b>", film.tracks[0].name
    try:
        assert film_page.html(film).count(b"</script>") == 2  # the data and the code
    finally:
        film.tracks[0].__dict__["name"] = old


def test_losses_are_told_as_they_fall():
    film, found = make(contour_race, "rosenbrock", ["sgd", "adam"], rate=1e-3)
    for track, run in zip(film.tracks, found, strict=True):
        told = [float(r) for r in track.readings]
        assert told == pytest.approx(run.descent.losses.tolist(), rel=0.06)


def test_who_leaves_stays_at_the_edge_and_is_told():
    film, found = make(saddle_race, "saddle", ["adam", "sgd"], rate=0.3, steps=30)
    for track, run in zip(film.tracks, found, strict=True):
        out = leaving(LANDSCAPES["saddle"], run.descent)
        assert out is not None
        assert track.readings == [""] * out + [f"at step {out}"] * (31 - out)
        assert (track.points[out:] == track.points[out]).all()


def test_divergence_fits_into_a_film():
    film, _ = make(contour_race, "rosenbrock", ["sgd", "adam"], rate=1.0, steps=40)
    assert all(np.isfinite(t.points).all() for t in film.tracks)
    assert len(list(film.frames(50))) == 41


def test_of_all_algorithms_eight_are_named():
    film, _ = make(contour_race, "rosenbrock", ALGORITHMS, rate=1e-3, steps=2)
    assert len(film.tracks) == len(ALGORITHMS)
    named = [t for t in film.tracks if t.name]
    assert len(named) == len(film.rows) == len({t.colour for t in named}) == COLOURED
    words = {t.get_text() for t in film.figure.texts}
    assert {t.name for t in named} | {f"and {len(ALGORITHMS) - COLOURED} in grey"} <= words


def fake_ffmpeg(folder, script, monkeypatch):
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_ffmpeg_gets_every_frame(films, tmp_path, monkeypatch):
    out = tmp_path / "out.mp4"
    fake_ffmpeg(tmp_path, f'echo "$@" > {tmp_path}/said; cat > {out}', monkeypatch)
    film_video.mp4(films["contour"], out)
    assert out.stat().st_size == 1520 * 980 * 4 * (STEPS + 1)
    said = (tmp_path / "said").read_text()
    assert "-s 1520x980 -r 20" in said
    assert said.endswith(f"-f mp4 {out}\n")


def test_ffmpeg_s_reason_is_told(films, tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path, "echo one >&2; echo no encoder >&2; exit 1", monkeypatch)
    with pytest.raises(OSError, match="ffmpeg failed: no encoder"):
        film_video.mp4(films["contour"], tmp_path / "out.mp4")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg on this machine")
def test_ffmpeg_makes_a_film(films, tmp_path):
    out = tmp_path / "out.mp4"
    film_video.mp4(films["contour"], out)
    assert out.read_bytes()[4:8] == b"ftyp"


@pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="there is no chromium on this machine"
)
def test_a_browser_plays_it(films, tmp_path):
    assert CHROMIUM is not None, "THALWEG_REQUIRE_BROWSER=1, but there is no chromium"
    page = tmp_path / "film.html"
    text = film_page.html(films["saddle"]).decode()
    policy = re.search('<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    assert policy is not None
    page.write_text(text.replace(policy[0], "") + PROBE)  # which would not let the probe run
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    assert json.loads(title[1]) == [f"step {STEPS}", "Play", STEPS + 1]
