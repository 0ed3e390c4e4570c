"""Colours of skin, hair and things: from sRGB to linear RGB, and along a scale of tones."""

from collections.abc import Sequence

import numpy as np

from thesislib.synthetic.parameters import Parameters

Srgb = tuple[int, int, int]
SKIN_SRGB: list[Srgb] = [
    (234, 199, 178),
    (224, 180, 152),
    (211, 160, 128),
    (176, 122, 90),
    (133, 88, 63),
    (92, 60, 45),
    (66, 44, 36),
]
HAIR_SRGB: list[Srgb] = [(22, 19, 18), (48, 34, 26), (80, 56, 40), (118, 88, 62), (176, 146, 106)]


def linear(srgb: Srgb | Sequence[Srgb]) -> np.ndarray:
    """Linear RGB, float64 of the same shape, of sRGB values in 0-255 (by a gamma of 2.2)."""
    return (np.asarray(srgb, dtype=np.float64) / 255.0) ** 2.2


def along(scale: Sequence[Srgb], at: float) -> np.ndarray:
    """Linear RGB [3] at ``at`` in [0, 1] of a scale of colours, interpolated."""
    table = linear(scale)
    where = np.clip(at, 0, 1) * (len(scale) - 1)
    return np.array([np.interp(where, range(len(scale)), table[:, c]) for c in range(3)])


def skin_colour(p: Parameters) -> np.ndarray:
    """Linear RGB [3] of a person's skin by its melanin alone."""
    return along(SKIN_SRGB, p["melanin"])


def hair_colour(p: Parameters) -> np.ndarray:
    """Linear RGB [3] of a person's hair: a tone from black to blond, then red and grey in it."""
    colour = along(HAIR_SRGB, p["hair_tone"])
    red = colour * np.array([1.5, 0.75, 0.5])
    colour = colour + p["hair_red"] * (red - colour)
    return colour + p["hair_grey"] * (linear((158, 154, 148)) - colour)


def muted(hue: float, saturation: float, value: float) -> np.ndarray:
    """Linear RGB [3] of a muted colour; hue, saturation and value in [0, 1]."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3])))
    return (value * (1 - saturation + saturation * wheel)) ** 2.2
