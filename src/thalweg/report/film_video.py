"""Films as GIF and MP4, and their last frame as PNG."""

from __future__ import annotations

import io
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np

from thalweg.report.film import FPS, Film, Pixels
from thalweg.theme import FAINT, INK

HOLD = 2.0  # seconds that the last frame stays
DPI, DPI_GIF = 200, 100
SAME = 255  # the colour of a GIF that means: as in the frame before


def png(film: Film) -> bytes:
    """The last frame."""
    from PIL import Image

    [last] = (f.copy() for f in film.frames(DPI, [film.steps]))
    file = io.BytesIO()
    Image.fromarray(last).convert("RGB").save(file, "png", dpi=(DPI,) * 2)
    return file.getvalue()


def gif(film: Film) -> bytes:
    """An endless GIF."""
    from PIL import Image

    [last] = (f[..., :3].copy() for f in film.frames(DPI_GIF, [film.steps]))
    palette = _palette(film, last)
    frames = []
    before: Pixels | None = None
    for frame in film.frames(DPI_GIF):
        now = frame[..., :3]
        changed = np.ones(now.shape[:2], bool) if before is None else (now != before).any(axis=-1)
        # What stays as it was is transparent: long runs of one number, which take no room.
        indices = np.full(changed.shape, SAME, np.uint8)
        indices[changed] = _nearest(palette, now[changed])
        frames.append(Image.fromarray(indices))
        frames[-1].putpalette(palette.tobytes())
        before = now.copy()
    file = io.BytesIO()
    times = [1000 // FPS] * film.steps + [int(1000 * HOLD)]
    frames[0].save(
        file, "gif", save_all=True, append_images=frames[1:], duration=times, loop=0,
        optimize=False, transparency=SAME, disposal=1,
    )  # fmt: skip
    return file.getvalue()


def _palette(film: Film, picture: Pixels) -> Pixels:
    """One palette [255, 3] for all frames, or the background would flicker: the paths' own colours,
    which a choice by area would miss, and the most frequent ones of the last frame."""
    from PIL import Image
    from PIL.ImageColor import getrgb

    own = [
        getrgb(c) for c in dict.fromkeys(["#ffffff", INK, FAINT, *(t.colour for t in film.tracks)])
    ]
    found = Image.fromarray(picture).quantize(SAME - len(own), dither=Image.Dither.NONE)
    rest = np.array(found.getpalette(), np.uint8).reshape(-1, 3)
    return np.vstack([np.array(own, np.uint8), rest])


def _nearest(palette: Pixels, pixels: Pixels) -> Pixels:
    """The palette's index for each of pixels [n, 3]. Pillow's own answer is a colour nearby: white
    would turn grey."""
    colours, which = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1)
    p = palette.astype(float)
    # |a - b|^2 but for a's own part, which is the same for all of the palette.
    far = (p * p).sum(axis=1) - 2 * rgb @ p.T
    nearest: Pixels = far.argmin(axis=1).astype(np.uint8)[which]
    return nearest


def mp4(film: Film, path: Path) -> None:
    """Have ffmpeg write an MP4 to ``path``; OSError, with its last words, if it cannot."""
    program = ffmpeg()
    if program is None:
        raise OSError(None, "there is no ffmpeg on this machine")
    pictures = film.frames(DPI)
    first = next(pictures)
    height, width = first.shape[:2]
    command = [
        program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgba",
        "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-",
        # H.264 takes even sides only.
        "-vf", f"tpad=stop_mode=clone:stop_duration={HOLD},crop=trunc(iw/2)*2:trunc(ih/2)*2",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
        "-f", "mp4", str(path),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        with suppress(BrokenPipeError):  # it will say why
            process.stdin.write(first.tobytes())
            for picture in pictures:
                process.stdin.write(picture.tobytes())
        with suppress(BrokenPipeError):
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise OSError(None, f"ffmpeg failed: {said.splitlines()[-1] if said else 'no reason'}")


def ffmpeg() -> str | None:
    """Where ffmpeg is, if there is one."""
    return shutil.which("ffmpeg")
