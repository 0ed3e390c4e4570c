"""Hair: a relief over the head, its colour, and where it covers skin, on the head's grid.

A hair line, given as a height for each angle round the vertical axis, runs between that of short
hair and that of long hair by the session's length; a fringe lowers it in front. What lies above
it is raised, short hair by a thickness, long hair to an ellipsoid that falls beside and behind the
neck. Strands are sines of the angle round the parting, curls are noise.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from thesislib import seeds
from thesislib.synthetic.colours import hair_colour
from thesislib.synthetic.complexion import smooth_noise
from thesislib.synthetic.head import GRID, Layout, ellipsoid_radius, grid_directions
from thesislib.synthetic.numerics import acos, bell, smoothstep
from thesislib.synthetic.parameters import Parameters, identity_parameters, session_parameters


class Hair(NamedTuple):
    """Hair on the head's grid.

    Attributes:
        height: how far it stands above the skin, [GRID, GRID].
        rgb: its linear RGB, [3, GRID, GRID].
        cover: share of the skin under it that it hides, [GRID, GRID] in [0, 1].
    """

    height: torch.Tensor
    rgb: torch.Tensor
    cover: torch.Tensor


def grow_hair(identity: int, session: int, seed: int, f: Layout, radius: torch.Tensor) -> Hair:
    """The hair of a session.

    Args:
        identity, session, seed: whose, when, and of which dataset.
        f: layout of the neutral face on the whole grid.
        radius: of the hairless head, [GRID, GRID].
    """
    p = identity_parameters(identity, seed)
    s = session_parameters(identity, session, seed)
    rng = seeds.generator(seed, "synthetic hair", identity, session)
    direction = grid_directions()
    x, y, z = f.x, f.y, f.z
    mixed = p["hair_curl"] ** 1.5
    texture = _texture(p, s, rng, mixed)
    cover = float(np.clip((s["hair_length"] - 0.50) / 0.14, 0, 1))  # 0 short hair, 1 long
    line = _hair_line(f, s, cover, texture)
    above = (y - line).clamp(-0.6, 0.6)

    volume = s["hair_volume"]
    length = s["hair_length"]
    bulk = ellipsoid_radius(
        direction,
        (0, -0.05 - 0.42 * cover * length, -0.26),
        (p["head_width"] + 0.5 * volume + 0.05 * cover, 0.90 + 0.62 * cover * length, 0.74),
    )
    thick = volume * (0.55 + 0.9 * smoothstep(y, -0.1, 0.8)) * (1 + 0.5 * p["hair_curl"])
    if cover > 0:
        thick = torch.maximum(thick, bulk - radius)
        # Long hair falls beside and behind the neck, never before it or under the jaw.
        beside, behind = (radius + thick) * direction[0].abs() - 0.50, -0.34 - z
        above = torch.minimum(
            above, torch.maximum(beside, behind) + 2 * smoothstep(y, -0.45, -0.15)
        )
    if p["bald"]:  # hair is left round the back of the head
        above = torch.minimum(above, 0.38 + 0.25 * p["recession"] - y - 0.35 * z.clamp(min=0))
    above = torch.from_numpy(gaussian_filter(above.numpy(), 2.0))
    ramp = smoothstep(above, -0.01, 0.07) * (0.6 + 0.4 * smoothstep(above, 0.0, 0.25))
    # The parting is a shallow furrow from the crown to the forehead.
    furrow = bell(((x - 0.5 * s["parting"] * p["head_width"]) / 0.022) ** 2)
    furrow = furrow * smoothstep(y, 0.35, 0.6) * smoothstep(z, -0.4, 0.0) * (s["fringe"] < 0.6)
    raised = ramp * (thick + (0.007 + 0.012 * mixed) * texture) - 0.03 * ramp * furrow
    colour = torch.tensor(hair_colour(p), dtype=torch.float32)[:, None, None]
    tint = (1 + 0.20 * texture - 0.2 * furrow).clamp(0.3, 1.7)
    alpha = smoothstep(above, -0.030, 0.030)
    return Hair(raised.clamp(min=0), colour * tint, alpha)


def _texture(p: Parameters, s: Parameters, rng: np.random.Generator, mixed: float) -> torch.Tensor:
    """Strands mixed with a share ``mixed`` of curls, [GRID, GRID], about zero on average."""
    direction = grid_directions()
    # Strands run from the parting outwards: texture is a function of the angle round it.
    axis = np.array([0.45 * s["parting"], 1.0, -0.30])
    axis /= np.linalg.norm(axis)
    first = np.cross(axis, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    a, b, c = (_component(direction, unit) for unit in (first, second, axis))
    angle = torch.atan2(a, b)
    away = acos(c.clamp(-0.999, 0.999))
    drift = smooth_noise(rng, 22)
    wave = 0.10 * p["hair_curl"] * torch.sin(16 * away + 1.5 * drift)
    bent = angle + 0.10 * drift + wave
    strands = torch.zeros_like(angle)
    for waves, amplitude in ((7, 0.5), (13, 0.5), (23, 0.5), (41, 0.42), (67, 0.34)):
        phase = rng.uniform(0, 2 * math.pi)
        slow = 1.5 * torch.sin(away * rng.uniform(1.5, 4) + rng.uniform(0, 6))
        strands = strands + amplitude * torch.sin(waves * bent + phase + slow)
    # Strands crowd together at the parting itself; there their contrast must fade.
    strands = strands * smoothstep(away, 0.05, 0.45)
    curls = 0.8 * smooth_noise(rng, 4.5) + 0.5 * smooth_noise(rng, 9)
    return (1 - mixed) * strands + mixed * curls


def _component(direction: torch.Tensor, unit: np.ndarray) -> torch.Tensor:
    """Scalar product, [...], of directions [3, ...] and a unit vector [3]."""
    x, y, z = direction
    return float(unit[0]) * x + float(unit[1]) * y + float(unit[2]) * z


def _hair_line(f: Layout, s: Parameters, cover: float, texture: torch.Tensor) -> torch.Tensor:
    """Height above which hair grows, [GRID, GRID]."""
    p = f.p
    # By the angle round the vertical axis, front (0) to back (180).
    around = torch.atan2(f.ax, f.z) * (180 / math.pi)
    top = p["hairline"] + 0.25 * p["recession"]
    temple = top - 0.10 + 0.3 * p["recession"]
    at = [0, 25, 45, 60, 74, 86, 103, 118, 140, 180]
    short = [top, top - 0.01, temple, 0.30, -0.05, 0.17, 0.15, -0.25, -0.40, -0.45]
    reach = -0.25 - 1.5 * s["hair_length"]
    long = [top, top - 0.01, temple + 0.02, 0.32, *[reach] * 6]
    height = np.array(short) + cover * (np.array(long) - np.array(short))
    line = torch.from_numpy(np.interp(around.numpy().ravel(), at, height).astype(np.float32))
    line = line.reshape(GRID, GRID)
    if s["fringe"] > 0.15:
        sweep = 0.35 * s["parting"] * f.x
        fringe = 0.30 * s["fringe"] * (1 - smoothstep(around, 25, 62)) - sweep * (around < 75)
        line = line - fringe.clamp(min=0)
    return line + 0.022 * texture * (1 - cover * smoothstep(around, 50, 75))
