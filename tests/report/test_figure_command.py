"""``thalweg figure`` as people use it, mistakes included."""

from __future__ import annotations

import pytest

from thalweg import cli
from thalweg.problems.landscapes import LANDSCAPES
from thalweg.report import film_video, pictures
from thalweg.report.gallery import FIGURES

QUICK = ["--optimizers", "adam", "--steps", "4", "--lr", "0.01"]
BEGINS = {
    ".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".gif": b"GIF89a", ".html": b"<!doctype",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(film_video, "ffmpeg", lambda: None)


def test_the_list_names_every_figure_and_landscape(capsys):
    assert cli.main(["figure", "--list"]) == 0
    said = capsys.readouterr().out
    for name in (*FIGURES, *LANDSCAPES):
        assert f"  {name} " in said


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["contours"], ["contours.png"]),
        (["saddle-race"], ["saddle-race.html", "saddle-race.gif"]),
        (["surface", "--out", "a.SVG"], ["a.SVG"]),
        (["loss", "--out", "new/folder/"], [f"new/folder/loss{s}" for s in pictures.STILL]),
        (["noise", "--out", "new"], ["new/noise.png", "new/noise.svg", "new/noise.pdf"]),
        (["saddle-race", "--out", "a.html"], ["a.html"]),
        (["contours", "--landscape", "x^2 + y^2", "--start", "1,-2", "--out", "f.pdf"], ["f.pdf"]),
        (["contours", "--start", "-1.2,1"], ["contours.png"]),
        (["contours", "--landscape", "x^2 + 3*y^2"], ["contours.png"]),
    ],
    ids=str,
)  # fmt: skip
def test_the_path_decides_the_format(arguments, files, capsys, tmp_path):
    assert cli.main(["figure", *arguments, *QUICK]) == 0
    assert capsys.readouterr().out.split() == files
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")} == set(files)
    for f in files:
        path = tmp_path / f
        assert path.read_bytes().startswith(BEGINS[path.suffix.lower()])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "figure needs a NAME"),
        (["contours", "--list"], "--list takes nothing else"),
        (["contour"], "did you mean 'contours'"),
        (["contours", "--optimizers", "adm"], "did you mean 'adam'"),
        (["contours", "--landscape", "beal"], "did you mean 'beale'"),
        (["contours", "--landscape", "x^2 +"], "character 6: the formula ends too early"),
        (["contours", "--landscape", "__import__('os')"], "landscape"),
        (["contours", "--steps", "0"], "--steps: must be at least 1, not 0"),
        (["contours", "--lr", "-1"], "lr must be finite and above 0, not -1.0"),
        (["contours", "--lr", "fast"], "--lr: invalid list of numbers value: 'fast'"),
        (["contours", "--lr", "-1,2"], "lr must be finite and above 0, not -1.0"),
        (
            ["contours", "--start", "-5,-.5"],
            "start must be a point in [-2, 2] × [-1, 3], not (-5, ",
        ),
        (["contours", "--start", "--list"], "--start: expected one argument"),
        (["contours", "--start"], "--start: expected one argument"),
        (["contours", "--start", "5,5"], "start must be a point in [-2, 2] × [-1, 3], not (5, 5)"),
        (["basins", "--optimizers", "adam"], "optimizers has no meaning for basins"),
        (["contours", "--out", "a.jpg"], "out must end in one of .png .svg .pdf for a figure"),
        (["saddle-race", "--out", "a.svg"], "out must end in one of .html .mp4 .gif .png"),
        (["saddle-race", "--out", "a.mp4"], "there is no ffmpeg"),
        (["contours", "--out", "no/a.png"], "cannot write no/a.png: No such file or directory"),
        (["contours", "--out", "/dev/null/a.png"], "cannot write /dev/null/a.png: Not a directory"),
        (["contours", "--out", "/dev/null/a/"], "cannot write /dev/null/a: Not a directory"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, said, capsys, tmp_path):
    assert cli.main(["figure", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("thalweg: ")
    assert said in captured.err
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_replaced_only_by_a_complete_file(capsys, tmp_path, monkeypatch):
    old = tmp_path / "a.gif"
    old.write_bytes(b"old")

    def full(film):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(pictures.BYTES, ".gif", full)
    assert cli.main(["figure", "saddle-race", "--out", "a.gif", *QUICK]) == 2
    assert "cannot write a.gif: No space left on device" in capsys.readouterr().err
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["figure", "saddle-race", "--out", "a.gif", *QUICK]) == 0
    assert old.read_bytes().startswith(b"GIF89a")
