"""Skin, features and hair: colours on the head's grid."""

import functools
import math

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from thesislib import seeds
from thesislib.synthetic.head import (
    FACE_COLUMNS,
    FACE_ROWS,
    GRID,
    MARGIN,
    Layout,
    _openness,
    _skin_radius,
    ellipsoid_radius,
    grid_directions,
    normals,
)
from thesislib.synthetic.numerics import _step, acos, bell, bump, sqrt
from thesislib.synthetic.parameters import (
    HAIR_SRGB,
    SKIN_SRGB,
    Parameters,
    _person,
    _ramp,
    linear,
    session_parameters,
)


def _spots(generator: np.random.Generator, count: int, spread: float, size: tuple) -> np.ndarray:
    """Sum of ``count`` small soft spots on the face, [GRID, GRID] in [0, 1]."""
    canvas = np.zeros((GRID, GRID), dtype=np.float32)
    for _ in range(count):
        row, column = GRID * (0.5 - 0.12 + spread * generator.normal(size=2) * (0.7, 1.0))
        radius = generator.uniform(*size)
        row, column = (
            int(np.clip(row, 8, GRID - 9)),
            int(np.clip(column + 0.12 * GRID, 8, GRID - 9)),
        )
        yy, xx = np.mgrid[-6:7, -6:7]
        spot = np.exp(-(xx**2 + yy**2) / (2 * radius**2)).astype(np.float32)
        patch = canvas[row - 6 : row + 7, column - 6 : column + 7]
        np.maximum(patch, spot * generator.uniform(0.5, 1.0), out=patch)
    return canvas


def _smooth_noise(generator: np.random.Generator, sigma: float) -> np.ndarray:
    """Smooth noise of unit variance on the grid, features about ``sigma`` cells wide."""
    # Drawn coarse and enlarged: wide Gaussian filters at full size would cost most of a head.
    factor = max(1, int(sigma // 3))
    n = -(-GRID // factor)
    field = gaussian_filter(generator.standard_normal((n, n), dtype=np.float32), sigma / factor)
    field /= field.std()
    if factor > 1:
        image = Image.fromarray(field).resize((GRID, GRID), Image.Resampling.BICUBIC)
        field = np.array(image)
    return field


@functools.lru_cache(maxsize=2)
def _complexion(identity: int, seed: int) -> torch.Tensor:
    """Colour of the bare skin, [3, GRID, GRID], without lips, eyes and brows."""
    p = _person(identity, seed)
    rng = seeds.generator(seed, "synthetic skin", identity)
    skin = _ramp(SKIN_SRGB, p["melanin"])
    skin = skin * (1 + p["redness"] * np.array([0.03, -0.05, -0.06]))
    broad, fine = _smooth_noise(rng, 26), _smooth_noise(rng, 5)
    blood = _smooth_noise(rng, 14)
    tone = torch.from_numpy(1 + p["skin_mottle"] * (0.045 * broad + 0.016 * fine))
    direction = grid_directions()
    x, y = direction[0].abs(), direction[1]
    flush = (0.5 + 0.3 * p["redness"]) * (
        bump(x, y, 0.38, -0.26, 0.16, 0.15) + 0.8 * bump(x, y, 0, -0.36, 0.10, 0.10)
    )
    flush = flush + 0.12 * p["skin_mottle"] * torch.from_numpy(blood)
    freckles = _spots(rng, round(160 * p["freckles"]), 0.10, (0.8, 1.5))
    moles = _spots(rng, int(p["moles"]), 0.14, (1.4, 2.6))
    freckles, moles = torch.from_numpy(freckles), torch.from_numpy(moles)
    rgb = torch.tensor(skin, dtype=torch.float32)[:, None, None] * tone
    rgb = rgb * (1 - flush * torch.tensor([0.05, 0.20, 0.20])[:, None, None])
    rgb = rgb * (1 - 0.45 * freckles * torch.tensor([0.55, 0.8, 1.0])[:, None, None])
    return rgb * (1 - 0.75 * moles * torch.tensor([0.8, 1.0, 1.0])[:, None, None])


def _over(rgb: torch.Tensor, colour, alpha: torch.Tensor) -> torch.Tensor:
    colour = torch.as_tensor(colour, dtype=torch.float32)
    if colour.ndim == 1:
        colour = colour[:, None, None]
    return (colour - rgb).mul_(alpha).add_(rgb)


def _hair_colour(p: Parameters) -> np.ndarray:
    colour = _ramp(HAIR_SRGB, p["hair_tone"])
    red = colour * np.array([1.5, 0.75, 0.5])
    colour = colour + p["hair_red"] * (red - colour)
    return colour + p["hair_grey"] * (linear((158, 154, 148)) - colour)


def _paint(
    f: Layout, skin: torch.Tensor, beard: float, light: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour [3, rows, columns] and gloss [rows, columns] of the face over its bare skin."""
    p, x, y, ax = f.p, f.x, f.y, f.ax
    rgb = skin
    tone = torch.tensor(_ramp(SKIN_SRGB, p["melanin"]), dtype=torch.float32)
    hair = torch.tensor(_hair_colour(p), dtype=torch.float32)
    tip = p["eye_y"] + 0.05 - p["nose_length"]

    # Beard: the lower face, the upper lip, not the cheeks.
    if beard > 0.02:
        edge = -0.30 - 0.25 * bell((ax / 0.30) ** 4)
        zone = 1 - _step(y - edge, -0.10, 0.06)
        moustache = bump(ax, y, 0.06, 0.5 * (p["mouth_y"] + tip) - 0.03, 0.13, 0.045)
        zone = torch.maximum(zone * _step(f.z, -0.12, 0.1), moustache)
        grain = 0.9 + 0.1 * torch.sin(170 * x + 9 * torch.sin(23 * y)) * torch.sin(140 * y)
        colour = torch.minimum(0.75 * hair + 0.06 * tone, 0.6 * tone)
        rgb = _over(rgb, colour, 0.72 * beard * zone * grain)

    # Round the eyes the skin is thinner and darker.
    ring = bump(ax, y, p["eye_spacing"] - 0.01, p["eye_y"] - 0.02, 0.15, 0.085)
    rgb = rgb * (1 - ring * torch.tensor([0.14, 0.20, 0.18])[:, None, None])
    nostril = bump((x - p["nose_bend"]).abs(), y, 0.50 * p["nose_width"], tip - 0.058, 0.026, 0.015)
    rgb = rgb * (1 - 0.8 * nostril)

    # Lips and what is between them.
    above = f.mouth_above
    edge = 0.010
    upper = _step(above - f.upper_from, -edge, edge) * (
        1 - _step(above - f.upper_from - f.upper_lip, -edge, edge)
    )
    lower = _step(f.lower_from - above, -edge, edge) * (
        1 - _step(f.lower_from - above - f.lower_lip, -edge, edge)
    )
    lips = torch.maximum(0.95 * upper, lower) * _step(f.mouth_within, 0.0, 0.12)
    rosy = tone * torch.tensor([0.86, 0.56, 0.56]) + torch.tensor([0.015, 0.0, 0.004])
    lip_colour = tone + (0.45 + 0.5 * p["lip_colour"]) * (rosy - tone)
    rgb = _over(rgb, lip_colour, 0.85 * lips)
    seam = bell((f.in_mouth.clamp(max=0) / 0.011) ** 2) * _step(f.mx.abs(), 1.12, 0.85)
    rgb = rgb * (1 - 0.62 * seam)
    if f.open > 0.02:
        inside = _step(f.in_mouth, -0.002, 0.010)
        rgb = _over(rgb, (0.055, 0.016, 0.014), inside)
        teeth = inside * _step(f.mouth_within, 0.05, 0.5)
        teeth = teeth * _step(above - f.upper_from, -0.062, -0.045)
        rgb = _over(rgb, (0.62, 0.57, 0.49), 0.9 * teeth)

    # Eyes.
    white = _step(f.opening, -0.003, 0.008)
    rgb = _over(rgb, (0.60, 0.56, 0.53), white)
    shade = _step(f.upper_lid, 0.045, 0.0)
    iris_x = (ax - p["eye_spacing"]) - f.side * f.gaze[0]
    iris_y = f.ey - f.gaze[1] - 0.010
    reach = sqrt(iris_x**2 + iris_y**2 + 1e-8)
    brown, blue = linear((84, 52, 30)), linear((112, 136, 152))
    light = blue + p["eye_green"] * (linear((118, 124, 86)) - blue)
    colour = brown * (0.5 + 0.8 * p["eye_green"])
    colour = torch.tensor(colour + min(1.0, p["eye_light"]) * (light - colour)).float()
    iris = white * _step(reach, 0.068, 0.056)
    rim = 1 - 0.65 * _step(reach, 0.042, 0.062)
    rgb = _over(rgb, colour[:, None, None] * rim, iris)
    rgb = rgb * (1 - 0.96 * white * _step(reach, 0.032, 0.023))
    rgb = rgb * (1 - 0.55 * white * shade)
    # The lamp's image in the cornea, painted, as the eyeball's normals are too flat for it.
    lamp_x = iris_x - 0.030 * float(light[0]) * f.side
    lamp = sqrt(lamp_x**2 + (iris_y - 0.010 - 0.026 * float(light[1])) ** 2 + 1e-8)
    rgb = _over(rgb, (1.1, 1.1, 1.1), 0.8 * white * _step(lamp, 0.018, 0.010))
    along = bell((f.ex / 1.02) ** 8)
    lash = bell(((f.upper_lid + 0.004) / 0.011) ** 2) * along
    rgb = _over(rgb, (0.02, 0.014, 0.012), (0.72 + 0.1 * p["femininity"]) * lash)
    under = bell(((f.lower_lid + 0.003) / 0.008) ** 2) * along
    rgb = rgb * (1 - 0.35 * under)
    crease = bell(((f.upper_lid + p["eye_crease"] + 0.010) / 0.010) ** 2) * along
    rgb = rgb * (1 - 0.30 * crease)

    # Brows: an arc of short slanted hairs that thins outwards.
    bx = (ax - 0.10) / 0.36
    arc = p["brow_y"] + f.brow_raise + p["brow_angle"] * (ax - 0.10) * 0.5
    arc = arc + p["brow_arch"] * 0.06 * (1 - ((bx - 0.6) / 0.6) ** 2).clamp(min=-2.5)
    half = p["brow_thickness"] * (1.05 - 0.6 * bx.clamp(0, 1.2)) + 1e-3
    hairs = 0.86 + 0.14 * torch.sin(150 * ax - 110 * (y - arc))
    brow = bell(((y - arc) / half) ** 4) * _step(bx, -0.06, 0.10)
    brow = brow * (1 - _step(bx, 0.85, 1.08)) * hairs
    brow_colour = torch.minimum(hair * 0.6, tone * 0.35)
    rgb = _over(rgb, brow_colour, p["brow_density"] * brow)

    gloss = 0.22 + 0.25 * lips + 0.10 * white + 0.12 * bump(x, y, 0, 0.3, 0.3, 0.2)
    gloss = gloss + 0.12 * bump(x, y, 0, tip + 0.06, 0.06, 0.1)
    return rgb, gloss.clamp(max=1.0)


def _hair(
    identity: int, session: int, seed: int, f: Layout, radius: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hair over the neutral head: its height [GRID, GRID], colour [3, ...] and cover [...]."""
    p = _person(identity, seed)
    s = session_parameters(identity, session, seed)
    rng = seeds.generator(seed, "synthetic hair", identity, session)
    direction = grid_directions()
    x, y, z = f.x, f.y, f.z

    # Strands run from the parting outwards: texture is a function of the angle round it.
    axis = np.array([0.45 * s["parting"], 1.0, -0.30])
    axis /= np.linalg.norm(axis)
    first = np.cross(axis, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    a, b, c = (sum(float(e[i]) * direction[i] for i in range(3)) for e in (first, second, axis))
    angle = torch.atan2(a, b)
    away = acos(c.clamp(-0.999, 0.999))
    drift = torch.from_numpy(_smooth_noise(rng, 22))
    wave = 0.10 * p["hair_curl"] * torch.sin(16 * away + 1.5 * drift)
    bent = angle + 0.10 * drift + wave
    strands = torch.zeros_like(angle)
    for waves, amplitude in ((7, 0.5), (13, 0.5), (23, 0.5), (41, 0.42), (67, 0.34)):
        phase = rng.uniform(0, 2 * math.pi)
        slow = 1.5 * torch.sin(away * rng.uniform(1.5, 4) + rng.uniform(0, 6))
        strands = strands + amplitude * torch.sin(waves * bent + phase + slow)
    # Strands crowd together at the parting itself; there their contrast must fade.
    strands = strands * _step(away, 0.05, 0.45)
    curls = torch.from_numpy(0.8 * _smooth_noise(rng, 4.5) + 0.5 * _smooth_noise(rng, 9))
    mixed = p["hair_curl"] ** 1.5
    texture = (1 - mixed) * strands + mixed * curls

    # Hair line: its height by the angle round the vertical axis, front (0) to back (180).
    around = torch.atan2(f.ax, z) * (180 / math.pi)
    top = p["hairline"] + 0.25 * p["recession"]
    temple = top - 0.10 + 0.3 * p["recession"]
    at = [0, 25, 45, 60, 74, 86, 103, 118, 140, 180]
    short = [top, top - 0.01, temple, 0.30, -0.05, 0.17, 0.15, -0.25, -0.40, -0.45]
    reach = -0.25 - 1.5 * s["hair_length"]
    long = [top, top - 0.01, temple + 0.02, 0.32, *[reach] * 6]
    cover = float(np.clip((s["hair_length"] - 0.50) / 0.14, 0, 1))
    height = np.array(short) + cover * (np.array(long) - np.array(short))
    line = torch.from_numpy(np.interp(around.numpy().ravel(), at, height).astype(np.float32))
    line = line.reshape(GRID, GRID)
    if s["fringe"] > 0.15:
        sweep = 0.35 * s["parting"] * x
        fringe = 0.30 * s["fringe"] * (1 - _step(around, 25, 62)) - sweep * (around < 75)
        line = line - fringe.clamp(min=0)
    line = line + 0.022 * texture * (1 - cover * _step(around, 50, 75))
    above = (y - line).clamp(-0.6, 0.6)

    volume = s["hair_volume"]
    length = s["hair_length"]
    bulk = ellipsoid_radius(
        direction,
        (0, -0.05 - 0.42 * cover * length, -0.26),
        (p["head_width"] + 0.5 * volume + 0.05 * cover, 0.90 + 0.62 * cover * length, 0.74),
    )
    thick = volume * (0.55 + 0.9 * _step(y, -0.1, 0.8)) * (1 + 0.5 * p["hair_curl"])
    if cover > 0:
        thick = torch.maximum(thick, bulk - radius)
        # Long hair falls beside and behind the neck, never before it or under the jaw.
        beside, behind = (radius + thick) * direction[0].abs() - 0.50, -0.34 - z
        above = torch.minimum(above, torch.maximum(beside, behind) + 2 * _step(y, -0.45, -0.15))
    above = torch.from_numpy(gaussian_filter(above.numpy(), 2.0))
    ramp = _step(above, -0.01, 0.07) * (0.6 + 0.4 * _step(above, 0.0, 0.25))
    # The parting is a shallow furrow from the crown to the forehead.
    furrow = bell(((x - 0.5 * s["parting"] * p["head_width"]) / 0.022) ** 2)
    furrow = furrow * _step(y, 0.35, 0.6) * _step(z, -0.4, 0.0) * (s["fringe"] < 0.6)
    raised = ramp * (thick + (0.007 + 0.012 * mixed) * texture) - 0.03 * ramp * furrow
    colour = torch.tensor(_hair_colour(p), dtype=torch.float32)[:, None, None]
    tint = (1 + 0.20 * texture - 0.2 * furrow).clamp(0.3, 1.7)
    alpha = _step(above, -0.030, 0.030)
    return raised.clamp(min=0), colour * tint, alpha


@functools.lru_cache(maxsize=2)
def _neutral_head(identity: int, session: int, seed: int) -> dict[str, torch.Tensor]:
    """What an expression does not change: the whole head's grid and the hair on it."""
    p = _person(identity, seed)
    direction = grid_directions()
    f = Layout(direction, p, None)
    skin_radius = _skin_radius(f)
    raised, hair, alpha = _hair(identity, session, seed, f, skin_radius)
    beard = session_parameters(identity, session, seed)["beard"]
    rgb, gloss = _paint(f, _complexion(identity, seed), beard, np.array([0.0, 0.0, 1.0]))
    radius = skin_radius + raised
    rgb = _over(rgb, hair, alpha)
    gloss = gloss + alpha * (0.22 - gloss)
    maps = torch.cat([normals(direction, radius), _openness(radius)[None], rgb, gloss[None]])
    return {"radius": radius, "maps": maps, "raised": raised, "hair": hair, "alpha": alpha}


def _head(identity: int, session: int, seed: int, e: Parameters, light: np.ndarray, beard: float):
    """Radius [1, 1, GRID, GRID] and maps [1, 8, GRID, GRID] of a head with an expression.

    The maps are normal (3), openness, colour (3) and gloss.
    """
    p = _person(identity, seed)
    neutral = _neutral_head(identity, session, seed)
    rows, columns = (
        slice(part.start - MARGIN, part.stop + MARGIN) for part in (FACE_ROWS, FACE_COLUMNS)
    )
    direction = grid_directions()[:, rows, columns]
    f = Layout(direction, p, e)
    alpha = neutral["alpha"][rows, columns]
    part = _skin_radius(f) + neutral["raised"][rows, columns]
    skin = _complexion(identity, seed)[:, rows, columns]
    rgb, gloss = _paint(f, skin, beard, light)
    rgb = _over(rgb, neutral["hair"][:, rows, columns], alpha)
    gloss = gloss + alpha * (0.22 - gloss)
    new = torch.cat([normals(direction, part), _openness(part)[None], rgb, gloss[None]])
    inner = slice(MARGIN, -MARGIN)
    radius, maps = neutral["radius"].clone(), neutral["maps"].clone()
    radius[FACE_ROWS, FACE_COLUMNS] = part[inner, inner]
    maps[:, FACE_ROWS, FACE_COLUMNS] = new[:, inner, inner]
    return radius[None, None], maps[None]
