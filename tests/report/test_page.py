"""The report as a file, and as a browser lays it out."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from thalweg.optim.registry import ALGORITHMS
from thalweg.report import gallery, page, pictures

CHROMIUM = shutil.which("chromium")
REQUIRED = os.environ.get("THALWEG_REQUIRE_BROWSER") == "1"

# A page of the test's own holds the report in a frame of the width wanted (a window of headless
# Chromium is never narrower than 500) and writes into its title where the report's text lies.
PROBE = """<!doctype html><title></title>
<iframe width="%d" height="2000" style="border: 0"></iframe>
<script>
const frame = document.querySelector('iframe');
frame.onload = () => {
  const page = frame.contentDocument;
  const rect = e => {
    const r = e.getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom];
  };
  const texts = [...page.querySelectorAll('svg text, h1, h2, p, figcaption')]
    .filter(e => e.textContent.trim()).map(e => [e.textContent.trim(), ...rect(e)]);
  const heights = [...page.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height);
  document.title = JSON.stringify({
    width: frame.contentWindow.innerWidth, content: page.documentElement.scrollWidth, texts,
    least: Math.min(...heights), figures: page.querySelectorAll('figure').length,
  });
};
frame.srcdoc = %s;
</script>
"""


@pytest.fixture(scope="module")
def written(race, tmp_path_factory):
    out = tmp_path_factory.mktemp("race")
    return page.write(race, out, "thalweg race digits --out 'a b'")


def test_figures_lie_beside_the_page(written):
    found = {p.name for p in written.parent.iterdir()}
    assert found == {
        "report.html", "loss-training.png", "loss-validation.png", "learning-rate.png",
        "differences.png",
    }  # fmt: skip
    for picture in written.parent.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_page_needs_nothing_from_outside(written):
    text = written.read_text()
    assert not re.search(r"<(script|link|img|iframe)\b", text)
    references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert references
    assert all("".join(r).startswith("#") for r in references)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {"".join(r)[1:] for r in references} <= set(ids)


def test_the_page_says_who_won_and_how_to_do_it_again(written, race):
    text = html.unescape(written.read_text())
    assert race.sentence() in text
    assert "thalweg race digits --out 'a b'" in text
    for s in race.standings:
        assert text.count(s.algorithm.title) >= 3


def test_the_same_race_gives_the_same_page(written, race, tmp_path):
    again = page.write(race, tmp_path, "thalweg race digits --out 'a b'")
    assert again.read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        {"problem": "digits", "seeds": 1, "rates": 1},
        {"problem": "digits", "optimizers": "adam"},
        {"problem": "least-squares", "optimizers": "sgd,adam", "seeds": 2},
    ],
    ids=str,
)
def test_small_races_have_a_page_too(make, tmp_path, arguments):
    text = page.write(make(**arguments), tmp_path, "").read_text()
    assert "NaN" not in text
    assert ">nan" not in text


def test_a_page_is_replaced_whole_or_not_at_all(race, tmp_path, monkeypatch):
    old = page.write(race, tmp_path, "").read_bytes()
    monkeypatch.setattr(page.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        page.write(race, tmp_path, "other")
    assert (tmp_path / "report.html").read_bytes() == old
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_earlier_races_figures_go(race, make, tmp_path):
    page.write(race, tmp_path, "")
    (tmp_path / "mine.png").touch()
    page.write(make("least-squares", optimizers="adam"), tmp_path, "")
    assert {p.name for p in tmp_path.iterdir()} == {
        "report.html", "loss-training.png", "learning-rate.png", "mine.png",
    }  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="permissions are another thing there")
def test_files_are_as_readable_as_others(race, tmp_path):
    (tmp_path / "other").touch()
    for written in (page.write(race, tmp_path, ""), tmp_path / "learning-rate.png"):
        assert written.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_that_may_be_someone_elses_stay(race, tmp_path):
    others = tmp_path / f".report.html.{os.getpid()}"
    others.write_text("mine")
    page.write(race, tmp_path, "")
    assert others.read_text() == "mine"


OWN = """
from thalweg.optim import SGD, Adam
Own, Other = SGD, Adam
"""
HOSTILE = [
    "\"><img src=x onerror=document.title='owned'>",
    "</style></svg><script>document.title='owned'</script>",
    r"\1 \g<0> 50% url(#) [/bold] [red] $x$ {{ 7 * 7 }}",
    "two\nlines \x1b[31m",
    "half a pair \udcff",
]


@pytest.fixture
def hostile(make, tmp_path):
    """A verdict on contenders whose folder has a name like this, and that folder."""

    def verdict(name):
        folder = tmp_path.joinpath(*(n or " " for n in name.split("/")))
        folder.mkdir(parents=True)
        (folder / "own.py").write_text(OWN)
        names = [f"{folder}/own.py:{n}" for n in ("Own", "Other")]
        return make("digits", optimizers=["sgd", *names], seeds=2, rates=3), folder

    return verdict


@pytest.mark.parametrize("name", HOSTILE)
def test_names_become_neither_ids_nor_patterns_nor_markup(hostile, tmp_path, name):
    verdict, folder = hostile(name)
    text = page.write(verdict, tmp_path, f"thalweg race --out '{folder}'").read_text()
    plain = re.sub("<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert not re.search(r"<(script|img)\b", text)
    assert "Content-Security-Policy" in plain
    ids = re.findall(r'\bid="([^"]*)"', plain)
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[-.\w]+", i) for i in ids)
    references = re.findall(r'(?:href|src)="#([^"]*)"|url\(#([^)]*)\)', plain)
    assert references
    assert {"".join(r) for r in references} <= set(ids)


def browse(url, tmp_path):
    """What Chromium makes of a page."""
    assert CHROMIUM is not None, "THALWEG_REQUIRE_BROWSER=1, but there is no chromium"
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,2100",
            "--hide-scrollbars", "--virtual-time-budget=5000", "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip


needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="there is no chromium on this machine"
)
INJECTED = """<p id="probe" onclick="0">quiet</p><script>document.title='owned'</script>
<img src="x" onerror="document.title='owned'"><img src="data:," onerror="document.title='owned'">"""


@needs_browser
def test_nothing_in_a_report_is_ever_run(hostile, tmp_path):
    verdict, folder = hostile("".join(HOSTILE[:3]))
    report = page.write(verdict, tmp_path, f"thalweg race --out '{folder}'")
    assert "<title>thalweg race: Handwritten digits</title>" in browse(report.as_uri(), tmp_path)
    # Even if a name came through one day.
    report.write_text(report.read_text().replace("</main>", INJECTED + "</main>"))
    seen = browse(report.as_uri(), tmp_path)
    assert 'id="probe"' in seen
    assert "<title>thalweg race: Handwritten digits</title>" in seen


@needs_browser
def test_a_film_runs_its_own_script_and_no_other(tmp_path):
    entry, order = gallery.order("contour-race", "x^2 + 3*y^2", [ALGORITHMS["sgd"]], 5, [0.1])
    title = "</script></title><img src=x onerror=document.title='owned'>"
    film = replace(entry.draw(order), title=title)
    path = tmp_path / "film.html"
    pictures.write(film, path)
    seen = browse(path.as_uri(), tmp_path)
    assert re.search(r'<output id="now"[^>]*>step \d</output>', seen)
    assert not re.search("<title>owned", seen)
    path.write_text(path.read_text().replace("</main>", INJECTED + "</main>"))
    seen = browse(path.as_uri(), tmp_path)
    assert 'id="probe"' in seen
    assert re.search(r'<output id="now"[^>]*>step \d</output>', seen)
    assert not re.search("<title>owned", seen)


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("problem", "curves"), [("digits", 2), ("least-squares", 1)])
def test_a_browser_lays_it_out_without_overlaps(make, tmp_path, problem, curves, width):
    race = make(problem)
    probe = tmp_path / "probe.html"
    report = json.dumps(page.write(race, tmp_path, "").read_text()).replace("</", "<\\/")
    probe.write_text(PROBE % (width, report))
    title = re.search(r"<title>(.*?)</title>", browse(probe.as_uri(), tmp_path), re.DOTALL)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found["width"] == width
    assert found["content"] <= width, "the page is wider than the window"
    assert found["least"] >= 8, "some text in a figure is too small to read"
    assert found["figures"] == 1 + curves + len(race.standings)
    boxes = found["texts"]
    for t, left, _, right, _ in boxes:
        assert left >= 0, t
        assert right <= width + 0.5, f"{t!r} is cut off at the right"
    for i, (a, *one) in enumerate(boxes):
        for b, *two in boxes[:i]:
            wide = min(one[2], two[2]) - max(one[0], two[0])
            high = min(one[3], two[3]) - max(one[1], two[1])
            # A line box is taller than its letters: neighbours may share its empty rim.
            rim = 0.25 * min(one[3] - one[1], two[3] - two[1])
            assert wide <= 1 or high <= rim, f"{a!r} overlaps {b!r} by {wide:.1f} x {high:.1f} px"


def test_a_name_without_spaces_does_not_widen_the_page(written):
    assert "overflow-wrap: anywhere" in written.read_text("utf-8")
