"""Skin and features: colours and gloss on the head's grid.

Skin is a tone by melanin with noise of three widths, flush, freckles and moles; lips, eyes, brows
and beard are painted over it where :class:`~thesislib.synthetic.head.Layout` says that they are.
Colours are linear RGB, lengths in half head heights.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from thesislib import seeds
from thesislib.synthetic.colours import hair_colour, linear, skin_colour
from thesislib.synthetic.head import GRID, Layout, grid_directions
from thesislib.synthetic.numerics import bell, bump, smoothstep, sqrt
from thesislib.synthetic.parameters import identity_parameters

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


@functools.lru_cache(maxsize=2)
def bare_skin(identity: int, seed: int) -> torch.Tensor:
    """Linear RGB of a person's skin without lips, eyes and brows, [3, GRID, GRID]."""
    p = identity_parameters(identity, seed)
    rng = seeds.generator(seed, "synthetic skin", identity)
    skin = skin_colour(p)
    skin = skin * (1 + p["redness"] * np.array([0.03, -0.05, -0.06]))
    broad, fine, blood = smooth_noise(rng, 26), smooth_noise(rng, 5), smooth_noise(rng, 14)
    tone = 1 + p["skin_mottle"] * (0.045 * broad + 0.016 * fine)
    direction = grid_directions()
    x, y = direction[0].abs(), direction[1]
    flush = (0.5 + 0.3 * p["redness"]) * (
        bump(x, y, 0.38, -0.26, 0.16, 0.15) + 0.8 * bump(x, y, 0, -0.36, 0.10, 0.10)
    )
    flush = flush + 0.12 * p["skin_mottle"] * blood
    freckles = _spots(rng, round(160 * p["freckles"]), 0.10, (0.8, 1.5))
    moles = _spots(rng, int(p["moles"]), 0.14, (1.4, 2.6))
    rgb = torch.tensor(skin, dtype=torch.float32)[:, None, None] * tone
    rgb = rgb * (1 - flush * torch.tensor([0.05, 0.20, 0.20])[:, None, None])
    rgb = rgb * (1 - 0.45 * freckles * torch.tensor([0.55, 0.8, 1.0])[:, None, None])
    return rgb * (1 - 0.75 * moles * torch.tensor([0.8, 1.0, 1.0])[:, None, None])


def over(rgb: torch.Tensor, colour: Colour, alpha: torch.Tensor | float) -> torch.Tensor:
    """``rgb`` [3, ...] with a colour laid over it, covering a share ``alpha`` [...] in [0, 1].

    The colour is [3], for all cells alike, or [3, ...].
    """
    colour = torch.as_tensor(colour, dtype=torch.float32)
    if colour.ndim == 1:
        colour = colour[:, None, None]
    return (colour - rgb).mul_(alpha).add_(rgb)


def paint(f: Layout, skin: torch.Tensor, beard: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A face painted on bare skin.

    Args:
        f: where things are, of cells [...].
        skin: linear RGB of the bare skin there, [3, ...].
        beard: how full the beard is, in [0, 1].

    Returns:
        Linear RGB [3, ...] and gloss [...] in [0, 1].
    """
    p, x, y, ax = f.p, f.x, f.y, f.ax
    tone = torch.tensor(skin_colour(p), dtype=torch.float32)
    hair = torch.tensor(hair_colour(p), dtype=torch.float32)
    tip = _nose_tip(f)
    rgb = _paint_beard(f, skin, beard, tone, hair)
    # Round the eyes the skin is thinner and darker.
    ring = bump(ax, y, p["eye_spacing"] - 0.01, p["eye_y"] - 0.02, 0.15, 0.085)
    rgb = rgb * (1 - ring * torch.tensor([0.14, 0.20, 0.18])[:, None, None])
    nostril = bump((x - p["nose_bend"]).abs(), y, 0.50 * p["nose_width"], tip - 0.058, 0.026, 0.015)
    rgb = rgb * (1 - 0.8 * nostril)
    lips = _lips(f)
    rgb = _paint_mouth(f, rgb, lips, tone)
    white = smoothstep(f.opening, -0.003, 0.008)
    rgb = _paint_eyes(f, rgb, white)
    rgb = _paint_brows(f, rgb, tone, hair)
    gloss = 0.22 + 0.25 * lips + 0.10 * white + 0.12 * bump(x, y, 0, 0.3, 0.3, 0.2)
    gloss = gloss + 0.12 * bump(x, y, 0, tip + 0.06, 0.06, 0.1)
    return rgb, gloss.clamp(max=1.0)


def _nose_tip(f: Layout) -> float:
    """Height of the nose's tip."""
    return f.p["eye_y"] + 0.05 - f.p["nose_length"]


def _paint_beard(
    f: Layout, rgb: torch.Tensor, beard: float, tone: torch.Tensor, hair: torch.Tensor
) -> torch.Tensor:
    """The lower face and the upper lip, not the cheeks."""
    if beard <= 0.02:
        return rgb
    p, x, y, ax = f.p, f.x, f.y, f.ax
    edge = -0.30 - 0.25 * bell((ax / 0.30) ** 4)
    zone = 1 - smoothstep(y - edge, -0.10, 0.06)
    moustache = bump(ax, y, 0.06, 0.5 * (p["mouth_y"] + _nose_tip(f)) - 0.03, 0.13, 0.045)
    zone = torch.maximum(zone * smoothstep(f.z, -0.12, 0.1), moustache)
    grain = 0.9 + 0.1 * torch.sin(170 * x + 9 * torch.sin(23 * y)) * torch.sin(140 * y)
    colour = torch.minimum(0.75 * hair + 0.06 * tone, 0.6 * tone)
    return over(rgb, colour, 0.72 * beard * zone * grain)


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
    rosy = tone * torch.tensor([0.86, 0.56, 0.56]) + torch.tensor([0.015, 0.0, 0.004])
    lip_colour = tone + (0.45 + 0.5 * f.p["lip_colour"]) * (rosy - tone)
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
    lash = bell(((f.upper_lid + 0.004) / 0.011) ** 2) * along
    rgb = over(rgb, (0.02, 0.014, 0.012), (0.72 + 0.1 * p["femininity"]) * lash)
    under = bell(((f.lower_lid + 0.003) / 0.008) ** 2) * along
    rgb = rgb * (1 - 0.35 * under)
    crease = bell(((f.upper_lid + p["eye_crease"] + 0.010) / 0.010) ** 2) * along
    return rgb * (1 - 0.30 * crease)


def _paint_brows(
    f: Layout, rgb: torch.Tensor, tone: torch.Tensor, hair: torch.Tensor
) -> torch.Tensor:
    """An arc of short slanted hairs that thins outwards."""
    p, y, ax = f.p, f.y, f.ax
    bx = (ax - 0.10) / 0.36
    arc = p["brow_y"] + f.brow_raise + p["brow_angle"] * (ax - 0.10) * 0.5
    arc = arc + p["brow_arch"] * 0.06 * (1 - ((bx - 0.6) / 0.6) ** 2).clamp(min=-2.5)
    half = p["brow_thickness"] * (1.05 - 0.6 * bx.clamp(0, 1.2)) + 1e-3
    hairs = 0.86 + 0.14 * torch.sin(150 * ax - 110 * (y - arc))
    brow = bell(((y - arc) / half) ** 4) * smoothstep(bx, -0.06, 0.10)
    brow = brow * (1 - smoothstep(bx, 0.85, 1.08)) * hairs
    brow_colour = torch.minimum(hair * 0.6, tone * 0.35)
    return over(rgb, brow_colour, p["brow_density"] * brow)
