"""Colour difference CIEDE2000 (Sharma, Wu & Dalal 2005) and simulated colour blindness (Machado,
Oliveira & Fernandes 2009, severity 1), from the papers. Colours are arrays (..., 3)."""

from __future__ import annotations

import numpy as np

# Machado et al. 2009, table 1, severity 1.0; acts on linear RGB.
BLIND = {
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = TO_XYZ.sum(axis=1)


def linear(hexadecimal: str) -> np.ndarray:
    """``#rrggbb`` as linear RGB."""
    s = np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def seen(rgb: np.ndarray, blindness: str | None) -> np.ndarray:
    """Linear RGB as somebody with this kind of colour blindness sees it."""
    return rgb if blindness is None else np.clip(rgb @ BLIND[blindness].T, 0, 1)


def luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ TO_XYZ[1]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65."""
    t = rgb @ TO_XYZ.T / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The difference of two CIELAB colours; equations as numbered in the paper."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(two, -1, 0)
    c_mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2  # (3)
    g = 0.5 * (1 - np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7)))  # (4)
    a1, a2 = (1 + g) * a1, (1 + g) * a2  # (5)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)  # (6)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))  # (7)
    grey = c1 * c2 == 0
    dh = (h2 - h1 + 180) % 360 - 180  # (10), up to the sign at exactly 180
    dh = np.where(grey, 0, dh)
    dl, dc = l2 - l1, c2 - c1  # (8), (9)
    dh_big = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)  # (11)
    light, c = (l1 + l2) / 2, (c1 + c2) / 2  # (12), (13)
    h = np.where(np.abs(h1 - h2) <= 180, (h1 + h2) / 2, ((h1 + h2 + 360) / 2) % 360)  # (14)
    h = np.where(grey, h1 + h2, h)
    cos = lambda degrees: np.cos(np.radians(degrees))  # noqa: E731
    t = 1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63)
    turn = 60 * np.exp(-(((h - 275) / 25) ** 2))  # (16), times 2
    rc = 2 * np.sqrt(c**7 / (c**7 + 25.0**7))  # (17)
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)  # (18)
    sc, sh = 1 + 0.045 * c, 1 + 0.015 * c * t  # (19), (20)
    rt = -np.sin(np.radians(turn)) * rc  # (21)
    x, y, z = dl / sl, dc / sc, dh_big / sh
    return np.sqrt(x * x + y * y + z * z + rt * y * z)  # (22)


# Some of the paper's table 1: two CIELAB colours and their difference.
PAIRS = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (61.0, -5.0, 29.0), 22.8977),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
