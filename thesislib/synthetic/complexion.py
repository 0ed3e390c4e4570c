"""Skin and features: colours and gloss on the head's grid.

Skin is a tone by melanin with noise of several widths, flush, freckles, moles and lines; lips,
eyes, brows, beard and make-up are painted over it where
:class:`~thesislib.synthetic.head.Layout` says that they are.
Colours are linear RGB, lengths in half head heights.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from thesislib import seeds
from thesislib.synthetic.colours import hair_colour, linear, skin_colour
from thesislib.synthetic.head import GRID, Layout, grid_directions
from thesislib.synthetic.numerics import bell, bump, smoothstep, sqrt
from thesislib.synthetic.parameters import identity_parameters
from thesislib.synthetic.wrinkles import BAG_HEIGHT, DEPTH, bags, lines

Colour = torch.Tensor | np.ndarray | Sequence[float]


def _spots(
    rng: np.random.Generator, count: int, spread: float, size: tuple[float, float]
) -> torch.Tensor:
    """Small soft spots scattered over the face, [GRID, GRID] in [0, 1].

    ``spread`` is the scatter's deviation as a share of the grid, ``size`` the range of the spots'
    radii in cells.
    """
    canvas = np.zeros((GRID, GRID), dtype=np.float32)
    for _ in range(count):
        row, column = GRID * (0.5 - 0.12 + spread * rng.normal(size=2) * (0.7, 1.0))
        radius = rng.uniform(*size)
        row = int(np.clip(row, 8, GRID - 9))
        column = int(np.clip(column + 0.12 * GRID, 8, GRID - 9))
        yy, xx = np.mgrid[-6:7, -6:7]
        spot = np.exp(-(xx**2 + yy**2) / (2 * radius**2)).astype(np.float32)
        patch = canvas[row - 6 : row + 7, column - 6 : column + 7]
        np.maximum(patch, spot * rng.uniform(0.5, 1.0), out=patch)
    return torch.from_numpy(canvas)


def smooth_noise(rng: np.random.Generator, sigma: float) -> torch.Tensor:
    """Smooth noise of about unit variance on the grid, [GRID, GRID].

    ``sigma`` is the width of its features in cells.
    """
    # Drawn coarse and enlarged: wide Gaussian filters at full size would cost most of a head.
    factor = max(1, int(sigma // 3))
    n = -(-GRID // factor)
    field = gaussian_filter(rng.standard_normal((n, n), dtype=np.float32), sigma / factor)
    field /= field.std()
    if factor > 1:
        image = Image.fromarray(field).resize((GRID, GRID), Image.Resampling.BICUBIC)
        field = np.array(image)
    return torch.from_numpy(field)


class Skin(NamedTuple):
    """A person's skin at rest, without lips, eyes and brows, on the head's grid.

    Attributes:
        rgb: its linear RGB, [3, GRID, GRID].
        relief: how far its lines and bags raise it, [GRID, GRID].
    """

    rgb: torch.Tensor
    relief: torch.Tensor


@functools.lru_cache(maxsize=2)
def bare_skin(identity: int, seed: int) -> Skin:
    """The skin of a person, the same in all sessions."""
    p = identity_parameters(identity, seed)
    rng = seeds.generator(seed, "synthetic skin", identity)
    skin = skin_colour(p)
    skin = skin * (1 + p["redness"] * np.array([0.03, -0.05, -0.06]))
    skin = skin * (1 + p["skin_yellow"] * np.array([0.02, 0.01, -0.12]))
    broad, fine, blood = smooth_noise(rng, 26), smooth_noise(rng, 5), smooth_noise(rng, 14)
    # Lighter and darker parts of a face are much the same left and right.
    parts = smooth_noise(rng, 15)
    tone = 1 + p["skin_mottle"] * (0.045 * broad + 0.016 * fine)
    tone = tone + 0.05 * parts + 0.05 * parts.flip(1)
    f = Layout(grid_directions(), p, None)
    x, y = grid_directions()[0].abs(), grid_directions()[1]
    flush = (0.5 + 0.3 * p["redness"]) * (
        bump(x, y, 0.38, -0.26, 0.16, 0.15) + 0.8 * bump(x, y, 0, -0.36, 0.10, 0.10)
    )
    flush = flush + 0.12 * p["skin_mottle"] * blood
    freckles = _spots(rng, round(160 * p["freckles"]), 0.10, (0.8, 1.5))
    moles = _spots(rng, int(p["moles"]), 0.14, (1.4, 2.6))
    rgb = torch.tensor(skin, dtype=torch.float32)[:, None, None] * tone
    rgb = rgb * (1 - flush * torch.tensor([0.05, 0.20, 0.20])[:, None, None])
    rgb = rgb * (1 - 0.45 * freckles * torch.tensor([0.55, 0.8, 1.0])[:, None, None])
    rgb = rgb * (1 - 0.75 * moles * torch.tensor([0.8, 1.0, 1.0])[:, None, None])
    # Round the eyes the skin is thinner and darker.
    ring = bump(f.ax, f.y, p["eye_spacing"] - 0.01, p["eye_y"] - 0.02, 0.15, 0.085)
    ring = ring * (0.3 + 1.9 * p["eye_ring"])
    rgb = rgb * (1 - ring * torch.tensor([0.14, 0.20, 0.18])[:, None, None])
    shadow = bump(f.ex, f.upper_lid, 0.1, -0.045, 0.8, 0.04) * p["eye_shadow"]
    rgb = rgb * (1 - 0.75 * shadow * torch.tensor([0.8, 1.0, 0.85])[:, None, None])
    drawn = lines(f, seeds.generator(seed, "synthetic wrinkles", identity))
    relief = f.front * (BAG_HEIGHT * bags(f) - DEPTH * drawn)
    return Skin(rgb * (1 - 0.40 * drawn), relief)


def over(rgb: torch.Tensor, colour: Colour, alpha: torch.Tensor | float) -> torch.Tensor:
    """``rgb`` [3, ...] with a colour laid over it, covering a share ``alpha`` [...] in [0, 1].

    The colour is [3], for all cells alike, or [3, ...].
    """
    colour = torch.as_tensor(colour, dtype=torch.float32)
    if colour.ndim == 1:
        colour = colour[:, None, None]
    return (colour - rgb).mul_(alpha).add_(rgb)


def paint(
    f: Layout, skin: torch.Tensor, beard: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A face painted on bare skin.

    Args:
        f: where things are, of cells [...].
        skin: linear RGB of the bare skin there, [3, ...].
        beard: where it grows, of :func:`beard_cover`.

    Returns:
        Linear RGB [3, ...] and gloss [...] in [0, 1].
    """
    p, x, y = f.p, f.x, f.y
    tone = torch.tensor(skin_colour(p), dtype=torch.float32)
    hair = torch.tensor(hair_colour(p), dtype=torch.float32)
    tip = _nose_tip(f)
    rgb = skin
    if beard is not None:
        rgb = over(rgb, torch.minimum(0.75 * hair + 0.04 * tone, 0.6 * tone), 0.93 * beard)
    nostril = bump((x - p["nose_bend"]).abs(), y, 0.50 * p["nose_width"], tip - 0.058, 0.026, 0.015)
    rgb = rgb * (1 - 0.95 * p["nostrils"] * nostril)
    lips = _lips(f)
    rgb = _paint_mouth(f, rgb, lips, tone)
    white = smoothstep(f.opening, -0.003, 0.008)
    rgb = _paint_eyes(f, rgb, white)
    rgb = _paint_brows(f, rgb, tone, hair)
    gloss = 0.06 + 0.55 * p["skin_shine"] + 0.25 * lips + 0.10 * white
    gloss = gloss + 0.12 * bump(x, y, 0, 0.3, 0.3, 0.2)
    gloss = gloss + 0.12 * bump(x, y, 0, tip + 0.06, 0.06, 0.1)
    return rgb, gloss.clamp(max=1.0)


def _nose_tip(f: Layout) -> float:
    """Height of the nose's tip."""
    return f.p["eye_y"] + 0.05 - f.p["nose_length"]


def beard_cover(f: Layout, growth: float) -> torch.Tensor | None:
    """Share of the skin that the beard hides, [...] in [0, 1]; None where nobody grows one.

    It grows on the jaw, round the mouth and on the upper lip, on each as far as the person lets it.

    Args:
        f: where things are.
        growth: how much of it has grown in a session; 1 is what is usual for the person.
    """
    p, x, y, ax = f.p, f.x, f.y, f.ax
    if max(p["beard"], p["goatee"], p["moustache"]) <= 0.02:
        return None
    edge = -0.30 + p["beard_top"] - 0.25 * bell((ax / 0.30) ** 4)
    jaw = (1 - smoothstep(y - edge, -0.10, 0.06)) * smoothstep(f.z, -0.12, 0.1)
    goatee = bump(ax, y, 0.05, p["mouth_y"] - 0.22, 0.12, 0.12)
    goatee = torch.maximum(goatee, bump(ax, y, 1.15 * p["mouth_width"], p["mouth_y"], 0.04, 0.12))
    lip = bump(ax, y, 0.07, 0.5 * (p["mouth_y"] + _nose_tip(f)) - 0.03, 0.13, 0.045)
    grain = 0.88 + 0.12 * torch.sin(170 * x + 9 * torch.sin(23 * y)) * torch.sin(140 * y)
    cover = torch.maximum(p["beard"] * jaw, p["goatee"] * goatee.mul_(1.4).clamp_(max=1))
    cover = torch.maximum(cover, p["moustache"] * lip.mul_(1.4).clamp_(max=1))
    return (growth * cover * grain).clamp_(max=1)


def _lips(f: Layout) -> torch.Tensor:
    """Where the lips are, [...] in [0, 1]."""
    above, edge = f.mouth_above, 0.010
    upper = smoothstep(above - f.upper_from, -edge, edge) * (
        1 - smoothstep(above - f.upper_from - f.upper_lip, -edge, edge)
    )
    lower = smoothstep(f.lower_from - above, -edge, edge) * (
        1 - smoothstep(f.lower_from - above - f.lower_lip, -edge, edge)
    )
    return torch.maximum(0.95 * upper, lower) * smoothstep(f.mouth_within, 0.0, 0.12)


def _paint_mouth(
    f: Layout, rgb: torch.Tensor, lips: torch.Tensor, tone: torch.Tensor
) -> torch.Tensor:
    """Lips and what is between them."""
    p = f.p
    rosy = tone * torch.tensor([0.86, 0.56, 0.56]) + torch.tensor([0.015, 0.0, 0.004])
    rosy = rosy * (1 - 0.5 * p["lip_dark"])
    lip_colour = tone + (0.3 + 0.7 * p["lip_colour"]) * (rosy - tone)
    stick = torch.tensor([0.26, 0.012, 0.03]) + 0.25 * tone
    lip_colour = lip_colour + p["lipstick"] * (stick - lip_colour)
    rgb = over(rgb, lip_colour, 0.85 * lips)
    seam = bell((f.in_mouth.clamp(max=0) / 0.011) ** 2) * smoothstep(f.mx.abs(), 1.12, 0.85)
    rgb = rgb * (1 - 0.62 * seam)
    if f.open > 0.02:
        inside = smoothstep(f.in_mouth, -0.002, 0.010)
        rgb = over(rgb, (0.055, 0.016, 0.014), inside)
        teeth = inside * smoothstep(f.mouth_within, 0.05, 0.5)
        teeth = teeth * smoothstep(f.mouth_above - f.upper_from, -0.062, -0.045)
        rgb = over(rgb, (0.62, 0.57, 0.49), 0.9 * teeth)
    return rgb


def _paint_eyes(f: Layout, rgb: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
    """Eyeball (``white``: where it is seen), iris and pupil, the lamp's reflection, lashes."""
    p = f.p
    rgb = over(rgb, (0.60, 0.56, 0.53), white)
    shade = smoothstep(f.upper_lid, 0.045, 0.0)
    iris_x = (f.ax - p["eye_spacing"]) - f.side * f.gaze[0]
    iris_y = f.ey - f.gaze[1] - 0.010
    reach = sqrt(iris_x**2 + iris_y**2 + 1e-8)
    brown, blue = linear((84, 52, 30)), linear((112, 136, 152))
    light = blue + p["eye_green"] * (linear((118, 124, 86)) - blue)
    dark = brown * (0.5 + 0.8 * p["eye_green"])
    colour = torch.tensor(dark + min(1.0, p["eye_light"]) * (light - dark)).float()
    reach = reach / p["iris_size"]
    iris = white * smoothstep(reach, 0.068, 0.056)
    rim = 1 - 0.65 * smoothstep(reach, 0.042, 0.062)
    rgb = over(rgb, colour[:, None, None] * rim, iris)
    rgb = rgb * (1 - 0.96 * white * smoothstep(reach, 0.032, 0.023))
    rgb = rgb * (1 - 0.55 * white * shade)
    # The lamp's reflection in the cornea is painted, as the eyeball's normals are too flat for it.
    # Its place varies a little with the colour of light irises, not with the lamp's direction;
    # to make it follow the lamp would give other pixels (VERSION).
    lamp_x = iris_x - 0.030 * float(light[0]) * f.side
    lamp = sqrt(lamp_x**2 + (iris_y - 0.010 - 0.026 * float(light[1])) ** 2 + 1e-8)
    rgb = over(rgb, (1.1, 1.1, 1.1), 0.8 * white * smoothstep(lamp, 0.018, 0.010))
    along = bell((f.ex / 1.02) ** 8)
    liner = p["eye_liner"]
    lash = bell(((f.upper_lid + 0.004) / (0.011 + 0.010 * liner)) ** 2) * along
    strength = min(1.0, 0.62 + 0.1 * p["femininity"] + 0.3 * liner)
    rgb = over(rgb, (0.02, 0.014, 0.012), strength * lash)
    under = bell(((f.lower_lid + 0.003) / 0.008) ** 2) * along
    rgb = rgb * (1 - (0.30 + 0.5 * liner) * under)
    crease = bell(((f.upper_lid + p["eye_crease"] + 0.010) / 0.010) ** 2) * along
    return rgb * (1 - 0.45 * (1 - p["eye_fold"]) * crease)


def _paint_brows(
    f: Layout, rgb: torch.Tensor, tone: torch.Tensor, hair: torch.Tensor
) -> torch.Tensor:
    """An arc of short slanted hairs that thins outwards."""
    p, y, ax = f.p, f.y, f.ax
    bx = (ax - p["brow_gap"]) / p["brow_length"]
    arc = p["brow_y"] + f.brow_raise + p["brow_angle"] * (ax - 0.10) * 0.5
    arc = arc + p["brow_arch"] * 0.06 * (1 - ((bx - 0.6) / 0.6) ** 2).clamp(min=-2.5)
    half = p["brow_thickness"] * (1.05 - 0.6 * bx.clamp(0, 1.2)) + 1e-3
    hairs = 0.86 + 0.14 * torch.sin(150 * ax - 110 * (y - arc))
    brow = bell(((y - arc) / half) ** 4) * smoothstep(bx, -0.06, 0.10)
    brow = brow * (1 - smoothstep(bx, 0.85, 1.08)) * hairs
    light = p["brow_tone"]
    brow_colour = torch.minimum(hair * (0.45 + 0.7 * light), tone * (0.25 + 0.4 * light))
    return over(rgb, brow_colour, p["brow_density"] * brow)
