"""Figures and films as files: the path decides the format."""

from __future__ import annotations

import errno
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from thalweg.report import film_page, film_video
from thalweg.report.files import replacing
from thalweg.report.film import Film
from thalweg.theme import theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STILL = (".png", ".svg", ".pdf")
MOVING = (".html", ".mp4", ".gif", ".png")
BYTES = {".html": film_page.html, ".gif": film_video.gif, ".png": film_video.png}


def targets(name: str, out: str | None, moving: bool) -> list[Path]:
    """What files a picture goes to, before any work is done.

    Args:
        name: the picture's, for files in a folder.
        out: a file, or a folder, which gets every format (MP4 only where there is ffmpeg). None is
            the folder one is in, which gets a PNG of a figure; of a film the page and an MP4, or a
            GIF where there is no ffmpeg.
        moving: whether it is a film.

    Raises:
        ValueError: the format is unknown, or cannot be made here.
        OSError: the folder is not there, or cannot be written to.
    """
    formats = MOVING if moving else STILL
    if out is None:
        film = ".mp4" if film_video.ffmpeg() else ".gif"
        return [_writable(Path(name + s)) for s in ((".html", film) if moving else (".png",))]
    path = Path(out)
    if path.is_dir() or out.endswith("/") or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        return [_writable(path / (name + s)) for s in formats if s != ".mp4" or film_video.ffmpeg()]
    if path.suffix.lower() not in formats:
        kind = "a film" if moving else "a figure"
        raise ValueError(
            f"out must end in one of {' '.join(formats)} for {kind}, not {path.suffix!r}"
        )
    if path.suffix.lower() == ".mp4" and film_video.ffmpeg() is None:
        raise ValueError("out must not end in .mp4 here: there is no ffmpeg; .html and .gif serve")
    return [_writable(path)]


def _writable(path: Path) -> Path:
    """The path, if a file can be put there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from None
    return path


def write(picture: Figure | Film, path: Path) -> None:
    """Write a picture in the format that the path's ending names, one of `STILL` or `MOVING`. What
    is there is replaced only by a complete file."""
    kind = path.suffix.lower()
    with replacing(path) as new:
        if not isinstance(picture, Film):
            unstamped: Any = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
            with theme():
                picture.savefig(new, format=kind[1:], facecolor="white", metadata=unstamped)
        elif kind == ".mp4":
            film_video.mp4(picture, new)
        else:
            new.write_bytes(BYTES[kind](picture))
