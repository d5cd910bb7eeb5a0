"""The report as a file, and as a browser lays it out."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import pytest

from thalweg.report import page

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


@pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="there is no chromium on this machine"
)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("problem", "curves"), [("digits", 2), ("least-squares", 1)])
def test_a_browser_lays_it_out_without_overlaps(make, tmp_path, problem, curves, width):
    assert CHROMIUM is not None, "THALWEG_REQUIRE_BROWSER=1, but there is no chromium"
    race = make(problem)
    probe = tmp_path / "probe.html"
    report = json.dumps(page.write(race, tmp_path, "").read_text()).replace("</", "<\\/")
    probe.write_text(PROBE % (width, report))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,2100",
            "--hide-scrollbars", "--virtual-time-budget=5000", "--dump-dom", probe.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
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
