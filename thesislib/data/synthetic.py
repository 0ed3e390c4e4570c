"""Synthetic people: photos of heads rendered from parameters, for a dataset that may be shared.

A head is a star-shaped surface: a radius for each direction from its centre, kept on a square
grid in Lambert's azimuthal equal-area projection about the face, together with normals and
colours. Rays are marched through that grid; neck, shoulders and glasses are intersected
analytically. What a photo shows follows from four numbers (seed, identity, session, shot):

- the *identity* fixes shape and colouring and never depends on anything else,
- the *session* (a sitting) fixes hair style, clothes, glasses, place and lights,
- the *shot* fixes pose, expression, framing and the camera's faults.

Lengths are in half head heights (about 11 cm), in a frame with x to the right of the photo, y up
and z towards the viewer. Colours are linear RGB unless said to be sRGB.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

from thesislib import seeds

# Raised whenever the same numbers would give other pixels: folders of two versions never mix.
VERSION = 3
GRID = 400  # cells along a side of the head's grid
# Part of the grid an expression can change: from under the chin to above the brows.
_FACE_ROWS = slice(round(GRID * 0.12), round(GRID * 0.68))
_FACE_COLUMNS = slice(round(GRID * 0.30), round(GRID * 0.70))
_MARGIN = 8  # cells computed round that part, so that slopes and hollows fit at its edge
_SUPERSAMPLE = 2
_CHUNK = 49152  # rays at a time, as few as keep the work in the processor's cache
_COARSE = 4  # one coarse ray for 4 x 4 fine ones finds where the fine ones start
_SKIN_SRGB = [
    (234, 199, 178),
    (224, 180, 152),
    (211, 160, 128),
    (176, 122, 90),
    (133, 88, 63),
    (92, 60, 45),
    (66, 44, 36),
]
_HAIR_SRGB = [(22, 19, 18), (48, 34, 26), (80, 56, 40), (118, 88, 62), (176, 146, 106)]

# What a session and a shot vary, saved beside each face.
_SESSION_FACTORS = (
    "light_key",
    "light_ambient",
    "hair_length",
    "fringe",
    "glasses",
    "outdoors",
)
_SHOT_FACTORS = (
    "smile",
    "mouth_open",
    "brow_raise",
    "eye_opening",
    "gaze_x",
    "gaze_y",
    "face_scale",
    "exposure",
    "blur",
    "noise",
    "jpeg_quality",
)
MIN_FACE = 24  # pixels across, in a scene of size 320
EMPTY_SCENES = 0.06
STRANGERS = 0.25  # share of the people in a scene
FIRST_STRANGER = 10_000_000  # numbers from here on are nobody's in a set
SCENE_PLACES = 9_000_000  # the number whose sittings light and furnish scenes
MOST_HIDDEN = 0.5  # of a face
Parameters = dict[str, float]


# ---------------------------------------------------------------- parameters


def _linear(srgb) -> np.ndarray:
    return (np.asarray(srgb, dtype=np.float64) / 255.0) ** 2.2


def _ramp(colours: list, at: float) -> np.ndarray:
    """Colour at ``at`` in [0, 1] along a list of sRGB colours, linear RGB."""
    table = _linear(colours)
    where = np.clip(at, 0, 1) * (len(colours) - 1)
    return np.array([np.interp(where, range(len(colours)), table[:, c]) for c in range(3)])


def identity_parameters(identity: int, seed: int) -> Parameters:
    """Shape and colouring of a person: a function of ``identity`` and ``seed`` alone.

    Args:
        identity: number of the person, 0 or more; there is no upper limit.
        seed: the dataset's seed.

    Returns:
        Parameters by name: lengths in half head heights, slopes without unit, amounts and
        probabilities in [0, 1].
    """
    return dict(_person(identity, seed))


@functools.lru_cache(maxsize=8)
def _person(identity: int, seed: int) -> Parameters:
    rng = seeds.generator(seed, "synthetic identity", identity)

    def near(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.normal(), -2.2, 2.2))

    # Traits that go together in people are tied by two hidden axes, femininity and age.
    femininity = float(rng.uniform(-1, 1))
    age = float(rng.uniform(0, 1))
    p = {
        "head_width": near(0.70 - 0.012 * femininity, 0.032),
        "head_height": near(0.79, 0.03),
        "head_depth": near(0.86, 0.035),
        "jaw_width": near(0.565 - 0.03 * femininity, 0.042),
        "jaw_square": near(0.03 - 0.02 * femininity, 0.016),
        "chin_length": near(-0.01 * femininity, 0.035),
        "chin_projection": near(0.13 - 0.02 * femininity, 0.035),
        "chin_width": near(0.17 - 0.02 * femininity, 0.03),
        "cheekbone": near(0.035, 0.018),
        "cheek_fullness": near(0.0, 0.024),
        "nose_length": near(0.37 - 0.01 * femininity, 0.040),
        "nose_width": near(0.118 - 0.008 * femininity, 0.020),
        "nose_projection": near(0.175 - 0.012 * femininity, 0.030),
        "nose_tip": near(0.012 * femininity, 0.028),
        "nose_bridge": near(0.42, 0.13),
        "nose_bend": near(0.0, 0.010),
        "brow_y": near(0.215 + 0.012 * femininity, 0.026),
        "brow_thickness": max(0.012, near(0.038 - 0.008 * femininity, 0.008)),
        "brow_angle": near(0.02, 0.11),
        "brow_arch": near(0.35 + 0.15 * femininity, 0.22),
        "brow_ridge": near(0.030 - 0.018 * femininity, 0.011),
        "brow_density": near(0.78, 0.11),
        "eye_y": near(0.03, 0.016),
        "eye_spacing": near(0.287, 0.018),
        "eye_width": near(0.140, 0.011),
        "eye_open": near(0.068 + 0.005 * femininity, 0.010),
        "eye_tilt": near(0.05, 0.09),
        "eye_depth": near(0.050 - 0.01 * femininity, 0.017),
        "eye_crease": near(0.035, 0.012),
        "mouth_y": near(-0.535, 0.026),
        "mouth_width": near(0.215, 0.026),
        "mouth_tilt": near(0.0, 0.02),
        "lip_upper": max(0.02, near(0.052 + 0.006 * femininity, 0.014)),
        "lip_lower": max(0.03, near(0.072 + 0.008 * femininity, 0.017)),
        "ear_size": near(1.0, 0.13),
        "ear_out": near(0.11, 0.035),
        "neck_width": near(0.405 - 0.05 * femininity, 0.028),
        "shoulder_width": near(1.85 - 0.18 * femininity, 0.12),
        "fold": float(np.clip(near(0.15 + 0.5 * age, 0.2), 0, 1)),
        "femininity": femininity,
        "age": age,
    }
    melanin = float(rng.beta(1.2, 1.6))
    p["melanin"] = melanin
    p["redness"] = near(0.0, 0.45)
    p["skin_mottle"] = float(rng.uniform(0.3, 1.0))
    p["freckles"] = float(max(0.0, rng.uniform(-1.2, 1) * (1 - melanin)))
    p["moles"] = float(rng.integers(0, 6))
    p["lip_colour"] = float(rng.uniform(0.2, 1.0))
    # Light hair and light eyes are found with light skin only, and there among dark ones.
    fairness = max(0.0, 1 - 2.2 * melanin)
    p["hair_tone"] = float(np.clip(fairness * rng.uniform(0, 1.15) + rng.uniform(0, 0.16), 0, 1))
    p["hair_red"] = float(rng.uniform(0.3, 0.8) * (rng.uniform() < 0.22 * fairness))
    p["hair_grey"] = float(np.clip((age - 0.78) * 4.0 * rng.uniform(0.2, 1.2), 0, 0.9))
    p["eye_light"] = float(fairness * rng.uniform(0, 1.2))
    p["eye_green"] = float(rng.uniform())
    p["beard"] = float(np.clip(-femininity * 1.4, 0, 1) * rng.uniform(0, 1) ** 1.3)
    p["hair_length"] = float(np.clip(near(0.40 + 0.38 * femininity, 0.13), 0.02, 0.98))
    curl = rng.uniform()
    p["hair_curl"] = float(np.clip(0.75 * curl**2 + 0.5 * max(0.0, melanin - 0.45), 0, 1))
    p["hair_thickness"] = float(rng.uniform(0.05, 0.13))
    p["hairline"] = near(0.63, 0.045)
    p["recession"] = float(np.clip(-femininity * age * rng.uniform(-0.3, 0.9), 0, 0.5))
    p["fringe"] = float(np.clip(rng.uniform(-0.8, 0.8) + 0.2 * femininity, 0, 1))
    p["glasses"] = float(rng.choice([0.05, 0.5, 0.92], p=[0.6, 0.2, 0.2]))
    return p


@functools.lru_cache(maxsize=8)
def _session_parameters(identity: int, session: int, seed: int) -> Parameters:
    person = _person(identity, seed)
    rng = seeds.generator(seed, "synthetic session", identity, session)
    side = float(rng.choice([-1.0, 1.0]))
    return {
        "hair_length": float(np.clip(person["hair_length"] + rng.normal() * 0.09, 0.0, 1.0)),
        "hair_volume": float(person["hair_thickness"] * rng.uniform(0.8, 1.3)),
        "fringe": float(np.clip(person["fringe"] + rng.normal() * 0.25, 0, 1)),
        "parting": float(side * rng.choice([0.0, 0.3, 0.55], p=[0.25, 0.45, 0.3])),
        "beard": float(np.clip(person["beard"] * rng.uniform(0.5, 1.25), 0, 1)),
        "glasses": float(rng.uniform() < person["glasses"]),
        "glasses_round": float(rng.uniform(0.35, 1.0)),
        "glasses_size": float(rng.uniform(0.92, 1.12)),
        "glasses_rim": float(rng.uniform(0.010, 0.026)),
        "glasses_tone": float(rng.uniform(0.02, 0.3)),
        "clothes_hue": float(rng.uniform()),
        "clothes_saturation": float(rng.uniform(0.03, 0.4)),
        "clothes_value": float(rng.uniform(0.06, 0.8)),
        "clothes_stripes": float(rng.uniform(-1.5, 1.0)),
        "neckline": float(rng.integers(0, 3)),
        "outdoors": float(rng.uniform() < 0.35),
        "light_azimuth": float(rng.uniform(-65, 65)),
        "light_elevation": float(rng.uniform(8, 60)),
        "light_key": float(rng.uniform(0.55, 1.15)),
        "light_ambient": float(rng.uniform(0.38, 0.68)),
        "light_warmth": float(rng.uniform(-0.10, 0.14)),
    }


def _yaw(rng: np.random.Generator) -> float:
    """Degrees: mostly into the camera, one head in five turned anywhere up to 60 to a side."""
    frontal, turned = float(rng.normal() * 14), float(rng.uniform(-60, 60))
    return turned if rng.uniform() < 0.2 else float(np.clip(frontal, -60, 60))


def _shot_parameters(identity: int, session: int, shot: int, seed: int) -> Parameters:
    rng = seeds.generator(seed, "synthetic shot", identity, session, shot)
    smile = float(np.clip(rng.normal(0.25, 0.4), -0.25, 1))
    return {
        "yaw": _yaw(rng),
        "pitch": float(np.clip(rng.normal() * 6, -15, 15)),
        "roll": float(np.clip(rng.normal() * 5, -14, 14)),
        "body_yaw": float(rng.normal() * 6),
        "smile": smile,
        "mouth_open": float(max(0.0, rng.uniform(-0.9, 0.7) + 0.4 * max(0.0, smile))),
        "brow_raise": float(rng.normal() * 0.4),
        "eye_opening": float(np.clip(rng.normal(1.0, 0.12), 0.55, 1.25)),
        "gaze_x": float(rng.normal() * 0.3),
        "gaze_y": float(rng.normal() * 0.2),
        "light_azimuth_change": float(rng.normal() * 9),
        "light_elevation_change": float(rng.normal() * 5),
        "face_scale": float(rng.uniform(0.32, 0.6)),
        "distance": float(rng.uniform(8, 16)),
        "place_x": float(rng.uniform(-1, 1)),
        "place_y": float(rng.uniform(-1, 1)),
        "background_x": float(rng.uniform(-1, 1)),
        "background_zoom": float(rng.uniform(0.0, 1.0)),
        "exposure": float(2 ** np.clip(rng.normal() * 0.22, -0.5, 0.5)),
        "blur": float(max(0.0, rng.uniform(-0.5, 0.75))),
        "noise": float(rng.uniform(0.4, 2.6)),
        "jpeg_quality": float(rng.integers(86, 95)),
    }


# --------------------------------------- roots and curves, alike on all processors


# PyTorch leaves these three to a library that has other code, and other last digits, for each
# kind of processor; one digit is enough for a pixel of another value, and another JPEG.


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    root = torch.empty_like(x)
    with np.errstate(invalid="ignore"):  # callers mask what has no root
        np.sqrt(x.numpy(), out=root.numpy())
    return root


def _exp(x: torch.Tensor) -> torch.Tensor:
    flat = x.reshape(-1)
    values = torch.empty_like(flat)
    # In parts, as float64 of a whole photo leaves the processor's cache.
    for part, of_part in zip(flat.split(_CHUNK), values.split(_CHUNK), strict=True):
        of_part.copy_(part.double().exp_())
    return values.view(x.shape)


def _acos(x: torch.Tensor) -> torch.Tensor:
    return torch.acos(x.double()).float()


# ------------------------------------------------------------- the head's grid


@functools.cache
def _grid_directions() -> torch.Tensor:
    """Unit direction of each cell, [3, GRID, GRID]; rows go up, columns to the right."""
    at = (torch.arange(GRID, dtype=torch.float32) + 0.5) / GRID * 2 - 1
    v, u = torch.meshgrid(at, at, indexing="ij")
    squared = u * u + v * v
    # Corners lie outside the projection's disc; they repeat its rim (behind the head).
    shrink = _sqrt(0.985 / squared.clamp(min=0.985))
    u, v, squared = u * shrink, v * shrink, squared * shrink * shrink
    forward = 2 * _sqrt(1 - squared)
    return torch.stack([u * forward, v * forward, 1 - 2 * squared])


def _sample(maps: torch.Tensor, x, y, z, length) -> torch.Tensor:
    """Bilinear values, [C, n], of ``maps`` [1, C, rows, columns] at n points of a given length."""
    scale = (length + z).mul_(2 * length).clamp_(min=1e-6).rsqrt_()
    at = torch.empty(1, 1, len(x), 2)
    torch.mul(x, scale, out=at[0, 0, :, 0])
    torch.mul(y, scale, out=at[0, 0, :, 1])
    return F.grid_sample(maps, at, padding_mode="border", align_corners=False)[0, :, 0]


def _bell(q: torch.Tensor) -> torch.Tensor:
    """About exp(-q) for q >= 0, and 0 from q = 8 on; several times faster."""
    return (-0.125 * q).add_(1).clamp_(min=0).square_().square_().square_()


def _bump(x, y, cx, cy, sx, sy):
    across = (x - cx).mul_(0.7071 / sx).square_()
    return _bell(across.add_((y - cy).mul_(0.7071 / sy).square_()))


def _step(x, low: float, high: float):
    t = (x - low).div_(high - low).clamp_(0, 1)
    return (-2 * t).add_(3).mul_(t.square_())


def _ellipsoid_radius(direction: torch.Tensor, centre: tuple, radii: tuple) -> torch.Tensor:
    """Distance from the origin, inside the ellipsoid, to its surface along ``direction``."""
    a = b = 0.0
    c = -1.0
    for d, m, r in zip(direction, centre, radii, strict=True):
        a = a + (d / r) ** 2
        b = b + d * (m / r**2)
        c += (m / r) ** 2
    return (b + _sqrt(b * b - a * c)) / a


def _skull(direction: torch.Tensor, p: Parameters) -> torch.Tensor:
    """Radius of the head without features: cranium and jaw, blended."""
    cranium = _ellipsoid_radius(
        direction, (0, 0.21, -0.14), (p["head_width"], p["head_height"], p["head_depth"])
    )
    height = 0.74 + p["chin_length"]
    jaw = _ellipsoid_radius(direction, (0, -0.23, 0.15), (p["jaw_width"], height, 0.60))
    # Smooth maximum: the 16th-power mean has no crease where the two meet.
    cranium, jaw = cranium**2, jaw**2
    return _sqrt(_sqrt(_sqrt(_sqrt(cranium**8 + jaw**8))))


class _Layout:
    """Where things are on a face: coordinates and masks that shape and colour share.

    Args:
        direction: [3, ...] unit directions.
        p: identity.
        e: shot (only its expression is used); None is a neutral face.
    """

    def __init__(self, direction: torch.Tensor, p: Parameters, e: Parameters | None):
        e = e or {}
        self.p = p
        self.skull = _skull(direction, p)
        x, self.y, self.z = (self.skull * d for d in direction)
        self.x, y = x, self.y
        self.side = torch.where(x < 0, -1.0, 1.0)
        self.ax = ax = x.abs()
        self.front = _step(self.z, -0.05, 0.3)
        self.smile, self.open = e.get("smile", 0.0), e.get("mouth_open", 0.0)

        # Eyes: opening > 0 between the lids, in head units.
        self.brow_raise = 0.03 * e.get("brow_raise", 0.0)
        eye_open = p["eye_open"] * e.get("eye_opening", 1.0) * (1 - 0.18 * max(0.0, self.smile))
        self.eye_open = eye_open
        self.ex = (ax - p["eye_spacing"]) / p["eye_width"]
        self.ey = y - p["eye_y"] - p["eye_tilt"] * (ax - p["eye_spacing"])
        arch = (1 - self.ex * self.ex).clamp(min=-1.0)
        # The upper lid peaks towards the nose, the lower one away from it.
        self.upper_lid = 1.1 * eye_open * arch * (1 - 0.12 * self.ex) - self.ey
        self.lower_lid = self.ey + 0.62 * eye_open * arch * (1 + 0.12 * self.ex)
        self.opening = torch.minimum(self.upper_lid, self.lower_lid)
        self.gaze = (0.04 * e.get("gaze_x", 0.0), 0.03 * e.get("gaze_y", 0.0))

        # Mouth: heights above the line where the lips meet.
        width = p["mouth_width"] * (1 + 0.18 * max(0.0, self.smile) - 0.06 * self.open)
        self.mx = mx = x / width
        within = (1 - mx * mx).clamp(min=0)
        line = (
            p["mouth_y"]
            + p["mouth_tilt"] * x
            + 0.055 * self.smile * ((mx * mx).clamp(max=1.3) - 0.35)
        )
        gap = 0.10 * self.open * _sqrt(within)
        above = y - line
        self.mouth_above = above
        self.upper_from, self.lower_from = 0.3 * gap, -0.7 * gap
        bow = 1 - 0.22 * _bell((mx / 0.16) ** 2)
        self.upper_lip = p["lip_upper"] * _sqrt(within) * bow
        self.lower_lip = p["lip_lower"] * _sqrt(within)
        self.in_mouth = torch.minimum(self.upper_from - above, above - self.lower_from)
        self.mouth_within = within


def _skin_radius(f: _Layout) -> torch.Tensor:
    """Radius of the hairless head, in half head heights, shaped as the layout's directions."""
    p, x, y, ax = f.p, f.x, f.y, f.ax
    eye_x, eye_y = p["eye_spacing"], p["eye_y"]
    add = p["cheekbone"] * _bump(ax, y, 0.44, -0.12, 0.14, 0.12)
    add = add + (p["cheek_fullness"] + 0.025 * max(0.0, f.smile)) * _bump(
        ax, y, 0.34, -0.36, 0.15, 0.16
    )
    add = add + p["jaw_square"] * _bump(ax, y, 0.42, -0.62, 0.14, 0.13)
    add = add + p["brow_ridge"] * _bump(ax, y, 0.22, p["brow_y"] - 0.01, 0.20, 0.07)
    # Sockets, with the ball of the eye and its lids in them.
    add = add - p["eye_depth"] * _bump(ax, y, eye_x - 0.03, eye_y + 0.02, 0.13, 0.085)
    ball = _bump(f.ex, f.ey, 0.0, 0.0, 0.75, 0.085)
    add = add + 0.042 * ball
    lid = _bell(((f.upper_lid + 0.012) / 0.016) ** 2) * (f.ex.abs() < 1.35)
    add = add + 0.011 * lid * _bell((f.ex / 0.9) ** 4)
    crease = _bell(((f.upper_lid + p["eye_crease"] + 0.012) / 0.013) ** 2)
    add = add - 0.010 * crease * _bell((f.ex / 0.9) ** 4)
    # Nose: a ridge that rises from between the eyes to the tip, two wings, then the lip.
    root, tip = eye_y + 0.05, eye_y + 0.05 - p["nose_length"]
    along = ((root - y) / p["nose_length"]).clamp(-0.6, 2)
    rise = p["nose_bridge"] * _step(along, -0.35, 0.5) + (1 - p["nose_bridge"]) * _step(
        along, 0.15, 1.0
    )
    fall = 1 - _step(along, 0.98 + p["nose_tip"], 1.22 + 1.4 * p["nose_tip"])
    middle = x - p["nose_bend"] * along.clamp(0, 1)
    breadth = 0.058 + (0.64 * p["nose_width"] - 0.058) * _step(along, 0.2, 1.0)
    add = add + p["nose_projection"] * rise * fall * _bell(0.5 * (middle / breadth) ** 2)
    wings = _bump(middle.abs(), y, 0.80 * p["nose_width"], tip - 0.015, 0.040, 0.050)
    add = add + 0.075 * wings
    # Lips, the groove under them, the chin.
    lips = f.mouth_within**2 * (3 - 2 * f.mouth_within)
    upper = (f.mouth_above - f.upper_from - 0.4 * p["lip_upper"]) / (0.6 * p["lip_upper"])
    lower = (f.mouth_above - f.lower_from + 0.5 * p["lip_lower"]) / (0.6 * p["lip_lower"])
    add = add + lips * (
        (0.012 + 0.35 * p["lip_upper"]) * _bell(upper * upper)
        + (0.012 + 0.35 * p["lip_lower"]) * _bell(lower * lower)
    )
    add = add - 0.05 * _step(f.in_mouth, 0.0, 0.02) * (f.open > 0.02)
    add = add + 0.045 * _bump(x, y, 0, p["mouth_y"], 0.24, 0.15)
    drop = 0.04 * f.open
    chin_y = -0.80 - p["chin_length"] - drop
    add = add + p["chin_projection"] * _bump(x, y, 0, chin_y, p["chin_width"], 0.13)
    add = add + drop * _bump(x, y, 0, -0.95, 0.40, 0.16)
    # Fold from the wings of the nose to the corners of the mouth.
    fold_x = 0.15 + 0.36 * (tip - y).clamp(-0.05, 0.35)
    fold = _bell(((ax - fold_x) / 0.022) ** 2) * _step(y, p["mouth_y"] - 0.08, tip - 0.1)
    fold = fold * (1 - _step(y, tip, tip + 0.06))
    add = add - 0.012 * (0.4 * p["fold"] + 0.7 * max(0.0, f.smile)) * fold
    radius = f.skull + f.front * add
    # Ears, on the sides: a flap with a hollow.
    size = p["ear_size"]
    away = (((f.z + 0.10) / (0.085 * size)) ** 2 + ((y + 0.03) / (0.20 * size)) ** 2) ** 2
    flap, near = torch.zeros_like(away), away < 104  # beyond, float32 has no digit for it
    flap[near] = _exp(-away[near])
    hollow = _bump(f.z, y, -0.075, -0.03, 0.030 * size, 0.08 * size)
    out = (p["ear_out"] * flap - 0.045 * hollow) * _step(ax, 0.3, 0.5)
    return radius + out


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
    skin = _ramp(_SKIN_SRGB, p["melanin"])
    skin = skin * (1 + p["redness"] * np.array([0.03, -0.05, -0.06]))
    broad, fine = _smooth_noise(rng, 26), _smooth_noise(rng, 5)
    blood = _smooth_noise(rng, 14)
    tone = torch.from_numpy(1 + p["skin_mottle"] * (0.045 * broad + 0.016 * fine))
    direction = _grid_directions()
    x, y = direction[0].abs(), direction[1]
    flush = (0.5 + 0.3 * p["redness"]) * (
        _bump(x, y, 0.38, -0.26, 0.16, 0.15) + 0.8 * _bump(x, y, 0, -0.36, 0.10, 0.10)
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
    colour = _ramp(_HAIR_SRGB, p["hair_tone"])
    red = colour * np.array([1.5, 0.75, 0.5])
    colour = colour + p["hair_red"] * (red - colour)
    return colour + p["hair_grey"] * (_linear((158, 154, 148)) - colour)


def _paint(
    f: _Layout, skin: torch.Tensor, beard: float, light: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour [3, rows, columns] and gloss [rows, columns] of the face over its bare skin."""
    p, x, y, ax = f.p, f.x, f.y, f.ax
    rgb = skin
    tone = torch.tensor(_ramp(_SKIN_SRGB, p["melanin"]), dtype=torch.float32)
    hair = torch.tensor(_hair_colour(p), dtype=torch.float32)
    tip = p["eye_y"] + 0.05 - p["nose_length"]

    # Beard: the lower face, the upper lip, not the cheeks.
    if beard > 0.02:
        edge = -0.30 - 0.25 * _bell((ax / 0.30) ** 4)
        zone = 1 - _step(y - edge, -0.10, 0.06)
        moustache = _bump(ax, y, 0.06, 0.5 * (p["mouth_y"] + tip) - 0.03, 0.13, 0.045)
        zone = torch.maximum(zone * _step(f.z, -0.12, 0.1), moustache)
        grain = 0.9 + 0.1 * torch.sin(170 * x + 9 * torch.sin(23 * y)) * torch.sin(140 * y)
        colour = torch.minimum(0.75 * hair + 0.06 * tone, 0.6 * tone)
        rgb = _over(rgb, colour, 0.72 * beard * zone * grain)

    # Round the eyes the skin is thinner and darker.
    ring = _bump(ax, y, p["eye_spacing"] - 0.01, p["eye_y"] - 0.02, 0.15, 0.085)
    rgb = rgb * (1 - ring * torch.tensor([0.14, 0.20, 0.18])[:, None, None])
    nostril = _bump(
        (x - p["nose_bend"]).abs(), y, 0.50 * p["nose_width"], tip - 0.058, 0.026, 0.015
    )
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
    seam = _bell((f.in_mouth.clamp(max=0) / 0.011) ** 2) * _step(f.mx.abs(), 1.12, 0.85)
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
    reach = _sqrt(iris_x**2 + iris_y**2 + 1e-8)
    brown, blue = _linear((84, 52, 30)), _linear((112, 136, 152))
    light = blue + p["eye_green"] * (_linear((118, 124, 86)) - blue)
    colour = brown * (0.5 + 0.8 * p["eye_green"])
    colour = torch.tensor(colour + min(1.0, p["eye_light"]) * (light - colour)).float()
    iris = white * _step(reach, 0.068, 0.056)
    rim = 1 - 0.65 * _step(reach, 0.042, 0.062)
    rgb = _over(rgb, colour[:, None, None] * rim, iris)
    rgb = rgb * (1 - 0.96 * white * _step(reach, 0.032, 0.023))
    rgb = rgb * (1 - 0.55 * white * shade)
    # The lamp's image in the cornea, painted, as the eyeball's normals are too flat for it.
    lamp_x = iris_x - 0.030 * float(light[0]) * f.side
    lamp = _sqrt(lamp_x**2 + (iris_y - 0.010 - 0.026 * float(light[1])) ** 2 + 1e-8)
    rgb = _over(rgb, (1.1, 1.1, 1.1), 0.8 * white * _step(lamp, 0.018, 0.010))
    along = _bell((f.ex / 1.02) ** 8)
    lash = _bell(((f.upper_lid + 0.004) / 0.011) ** 2) * along
    rgb = _over(rgb, (0.02, 0.014, 0.012), (0.72 + 0.1 * p["femininity"]) * lash)
    under = _bell(((f.lower_lid + 0.003) / 0.008) ** 2) * along
    rgb = rgb * (1 - 0.35 * under)
    crease = _bell(((f.upper_lid + p["eye_crease"] + 0.010) / 0.010) ** 2) * along
    rgb = rgb * (1 - 0.30 * crease)

    # Brows: an arc of short slanted hairs that thins outwards.
    bx = (ax - 0.10) / 0.36
    arc = p["brow_y"] + f.brow_raise + p["brow_angle"] * (ax - 0.10) * 0.5
    arc = arc + p["brow_arch"] * 0.06 * (1 - ((bx - 0.6) / 0.6) ** 2).clamp(min=-2.5)
    half = p["brow_thickness"] * (1.05 - 0.6 * bx.clamp(0, 1.2)) + 1e-3
    hairs = 0.86 + 0.14 * torch.sin(150 * ax - 110 * (y - arc))
    brow = _bell(((y - arc) / half) ** 4) * _step(bx, -0.06, 0.10)
    brow = brow * (1 - _step(bx, 0.85, 1.08)) * hairs
    brow_colour = torch.minimum(hair * 0.6, tone * 0.35)
    rgb = _over(rgb, brow_colour, p["brow_density"] * brow)

    gloss = 0.22 + 0.25 * lips + 0.10 * white + 0.12 * _bump(x, y, 0, 0.3, 0.3, 0.2)
    gloss = gloss + 0.12 * _bump(x, y, 0, tip + 0.06, 0.06, 0.1)
    return rgb, gloss.clamp(max=1.0)


def _hair(
    identity: int, session: int, seed: int, f: _Layout, radius: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hair over the neutral head: its height [GRID, GRID], colour [3, ...] and cover [...]."""
    p = _person(identity, seed)
    s = _session_parameters(identity, session, seed)
    rng = seeds.generator(seed, "synthetic hair", identity, session)
    direction = _grid_directions()
    x, y, z = f.x, f.y, f.z

    # Strands run from the parting outwards: texture is a function of the angle round it.
    axis = np.array([0.45 * s["parting"], 1.0, -0.30])
    axis /= np.linalg.norm(axis)
    first = np.cross(axis, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    a, b, c = (sum(float(e[i]) * direction[i] for i in range(3)) for e in (first, second, axis))
    angle = torch.atan2(a, b)
    away = _acos(c.clamp(-0.999, 0.999))
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
    bulk = _ellipsoid_radius(
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
    furrow = _bell(((x - 0.5 * s["parting"] * p["head_width"]) / 0.022) ** 2)
    furrow = furrow * _step(y, 0.35, 0.6) * _step(z, -0.4, 0.0) * (s["fringe"] < 0.6)
    raised = ramp * (thick + (0.007 + 0.012 * mixed) * texture) - 0.03 * ramp * furrow
    colour = torch.tensor(_hair_colour(p), dtype=torch.float32)[:, None, None]
    tint = (1 + 0.20 * texture - 0.2 * furrow).clamp(0.3, 1.7)
    alpha = _step(above, -0.030, 0.030)
    return raised.clamp(min=0), colour * tint, alpha


def _normals(direction: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Unit outward normals, [3, rows, columns], of the surface on a part of the grid."""
    point = radius * direction
    along_v = torch.empty_like(point)
    along_u = torch.empty_like(point)
    along_v[:, 1:-1] = point[:, 2:] - point[:, :-2]
    along_v[:, 0], along_v[:, -1] = along_v[:, 1], along_v[:, -2]
    along_u[:, :, 1:-1] = point[:, :, 2:] - point[:, :, :-2]
    along_u[:, :, 0], along_u[:, :, -1] = along_u[:, :, 1], along_u[:, :, -2]
    normal = torch.linalg.cross(along_u, along_v, dim=0)
    return normal * torch.rsqrt((normal * normal).sum(0).clamp(min=1e-12))


def _openness(radius: torch.Tensor) -> torch.Tensor:
    """Share of ambient light that reaches a cell: less in hollows, [rows, columns]."""
    rows, columns = radius.shape
    small = F.avg_pool2d(radius[None, None], 4, ceil_mode=True, count_include_pad=False)
    for _ in range(2):
        small = F.avg_pool2d(small, 5, 1, 2, count_include_pad=False)
    around = F.interpolate(small, size=(rows, columns), mode="bilinear", align_corners=False)[0, 0]
    return (1 - 7.5 * (around - radius)).clamp(0.35, 1.08)


@functools.lru_cache(maxsize=2)
def _neutral_head(identity: int, session: int, seed: int) -> dict[str, torch.Tensor]:
    """What an expression does not change: the whole head's grid and the hair on it."""
    p = _person(identity, seed)
    direction = _grid_directions()
    f = _Layout(direction, p, None)
    skin_radius = _skin_radius(f)
    raised, hair, alpha = _hair(identity, session, seed, f, skin_radius)
    beard = _session_parameters(identity, session, seed)["beard"]
    rgb, gloss = _paint(f, _complexion(identity, seed), beard, np.array([0.0, 0.0, 1.0]))
    radius = skin_radius + raised
    rgb = _over(rgb, hair, alpha)
    gloss = gloss + alpha * (0.22 - gloss)
    maps = torch.cat([_normals(direction, radius), _openness(radius)[None], rgb, gloss[None]])
    return {"radius": radius, "maps": maps, "raised": raised, "hair": hair, "alpha": alpha}


def _head(identity: int, session: int, seed: int, e: Parameters, light: np.ndarray, beard: float):
    """Radius [1, 1, GRID, GRID] and maps [1, 8, GRID, GRID] of a head with an expression.

    The maps are normal (3), openness, colour (3) and gloss.
    """
    p = _person(identity, seed)
    neutral = _neutral_head(identity, session, seed)
    rows, columns = (
        slice(part.start - _MARGIN, part.stop + _MARGIN) for part in (_FACE_ROWS, _FACE_COLUMNS)
    )
    direction = _grid_directions()[:, rows, columns]
    f = _Layout(direction, p, e)
    alpha = neutral["alpha"][rows, columns]
    part = _skin_radius(f) + neutral["raised"][rows, columns]
    skin = _complexion(identity, seed)[:, rows, columns]
    rgb, gloss = _paint(f, skin, beard, light)
    rgb = _over(rgb, neutral["hair"][:, rows, columns], alpha)
    gloss = gloss + alpha * (0.22 - gloss)
    new = torch.cat([_normals(direction, part), _openness(part)[None], rgb, gloss[None]])
    inner = slice(_MARGIN, -_MARGIN)
    radius, maps = neutral["radius"].clone(), neutral["maps"].clone()
    radius[_FACE_ROWS, _FACE_COLUMNS] = part[inner, inner]
    maps[:, _FACE_ROWS, _FACE_COLUMNS] = new[:, inner, inner]
    return radius[None, None], maps[None]


# ---------------------------------------------------------------- geometry


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head to camera rotation, [3, 3], from degrees; positive yaw turns the face to the right."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@functools.cache
def _probe_directions() -> torch.Tensor:
    """Directions over the front half of the head, [3, n], to measure the face with."""
    at = torch.linspace(-0.74, 0.74, 75)
    v, u = torch.meshgrid(at, at, indexing="ij")
    squared = u * u + v * v
    forward = 2 * _sqrt((1 - squared).clamp(min=0))
    direction = torch.stack([u * forward, v * forward, 1 - 2 * squared])
    return direction[:, squared < 0.9]


def _in_face(f: _Layout) -> torch.Tensor:
    """Whether a direction is in the face region: brows to chin, from ear to ear."""
    # The ears begin at z = -0.02; under the jaw the face ends where it turns to the neck.
    return (f.y < f.p["brow_y"] + f.p["brow_thickness"]) & (f.z > 0.0)


def _on_face(x: torch.Tensor, y: torch.Tensor, p: Parameters) -> torch.Tensor:
    """Directions, [3, n], in which the layout's coordinates are ``x`` and ``y``."""
    z = torch.full_like(x, 0.7)
    for _ in range(12):  # a fixed point: the skull's z follows from the direction
        point = torch.stack([x, y, z])
        direction = point / point.norm(dim=0)
        z = _skull(direction, p) * direction[2]
    return direction


def _landmarks(p: Parameters, e: Parameters) -> torch.Tensor:
    """Eyes, tip of the nose and corners of the mouth on the surface of the head, [3, 5]."""
    smile, opened = e["smile"], e["mouth_open"]
    corner = p["mouth_width"] * (1 + 0.18 * max(0.0, smile) - 0.06 * opened)
    corner_y = p["mouth_y"] + 0.055 * smile * 0.65
    x = [-p["eye_spacing"], p["eye_spacing"], p["nose_bend"], -corner, corner]
    eye, tilt = p["eye_y"], p["mouth_tilt"] * corner
    y = [eye, eye, eye + 0.05 - p["nose_length"], corner_y - tilt, corner_y + tilt]
    direction = _on_face(torch.tensor(x), torch.tensor(y), p)
    return _skin_radius(_Layout(direction, p, e)) * direction


def _glasses_plane(p: Parameters) -> float:
    """How far before the head's centre glasses sit: on the nose, and clear of the lashes."""
    places = torch.tensor([0.0, p["eye_spacing"]]), torch.tensor([p["eye_y"] - 0.02, p["eye_y"]])
    direction = _on_face(*places, p)
    nose, eye = (_skin_radius(_Layout(direction, p, None)) * direction)[2].tolist()
    return max(nose - 0.015, eye + 0.075)


def _pose(p: Parameters, e: Parameters, face_width: float) -> dict:
    """Where a head is turned, and its face in pixels about the head's centre in the photo.

    ``face_width`` is the head's width in pixels, seen from the front.
    """
    f = _Layout(_probe_directions(), p, e)
    points = (_skin_radius(f) * _probe_directions())[:, _in_face(f)]
    rotation = _rotation(e["yaw"], e["pitch"], e["roll"])
    focal = face_width * e["distance"] / (2 * p["head_width"])

    def project(points: torch.Tensor) -> np.ndarray:
        x, y, z = rotation @ points.double().numpy()
        return focal / (e["distance"] - z) * np.stack([x, -y])

    face = project(points)
    return {
        "rotation": rotation,
        "focal": focal,
        "extent": np.concatenate([face.min(axis=1), face.max(axis=1)]),
        "landmarks": project(_landmarks(p, e)).T,
    }


def _view(p: Parameters, s: Parameters, e: Parameters, pose: dict, centre: tuple, size: int):
    """All that is needed to draw a head with its centre at ``centre`` (pixels), box included."""
    height, width = size, round(size * 4 / 3)
    box = np.clip(pose["extent"] + [*centre, *centre], 0, [width, height, width, height])
    azimuth = s["light_azimuth"] + e["light_azimuth_change"]
    elevation = float(np.clip(s["light_elevation"] + e["light_elevation_change"], 0, 75))
    a, b = np.deg2rad([azimuth, elevation])
    light = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    factors = {name: e[name] for name in ("yaw", "pitch", "roll")}
    factors |= {"light_azimuth": azimuth, "light_elevation": elevation}
    factors |= {name: s[name] for name in _SESSION_FACTORS}
    factors |= {name: e[name] for name in _SHOT_FACTORS}
    factors["occlusion"] = 0.0
    return {
        "person": p,
        "session": s,
        "shot": e,
        "height": height,
        "width": width,
        "rotation": pose["rotation"],
        "focal": pose["focal"],
        "centre": centre,
        "light": light,
        "box": box.astype(np.float32),
        "landmarks": (pose["landmarks"] + centre).astype(np.float32),
        "factors": factors,
    }


def _check_size(size: int) -> None:
    if size < 32:
        raise ValueError(f"size is {size}, the shorter side of a photo needs at least 32 pixels")


CAMERAS = ("camera", "phone")


def _by_phone(s: Parameters, e: Parameters) -> tuple[Parameters, Parameters]:
    """The same sitting and shot at arm's length by lamplight: near, warm, hard, noisy, soft."""
    s = s | {
        "outdoors": 0.0,
        "light_elevation": 30 + 0.6 * s["light_elevation"],
        "light_ambient": 0.55 * s["light_ambient"],
        "light_warmth": 0.18 + s["light_warmth"],
    }
    e = e | {
        "distance": 0.45 * e["distance"],
        "exposure": 0.8 * e["exposure"],
        "noise": 2.5 * e["noise"] + 2,
        "blur": e["blur"] + 0.6,
        "jpeg_quality": e["jpeg_quality"] - 30,
    }
    return s, e


def _portrait(
    identity: int,
    session: int,
    shot: int,
    seed: int,
    size: int,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> dict:
    """Camera, pose, box and factors of a photo of one person, without drawing it."""
    _check_size(size)
    if camera not in CAMERAS:
        raise ValueError(f"camera {camera!r} is unknown; choose one of {', '.join(CAMERAS)}")
    p = _person(identity, seed)
    s = _session_parameters(identity, session, seed)
    e = _shot_parameters(identity, session, shot, seed)
    unknown = sorted(set(changes or {}) - set(e))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no parameter of a shot: {', '.join(e)}")
    if camera == "phone":
        s, e = _by_phone(s, e)
    e = {**e, **(changes or {})}
    height, width = size, round(size * 4 / 3)
    pose = _pose(p, e, e["face_scale"] * size)
    x1, y1, x2, y2 = pose["extent"]
    # The box stays inside with some air, more of it above for the hair.
    side, above, below = 0.06 * size, 0.16 * size, 0.06 * size

    def between(low: float, high: float, place: float) -> float:
        return (low + high) / 2 + place * max(0.0, high - low) / 2

    cx = between(side - x1, width - side - x2, e["place_x"])
    cy = between(above - y1, height - below - y2, e["place_y"])
    view = _view(p, s, e, pose, (cx, cy), size)
    return view | {"identity": identity, "sitting": session, "stranger": False}


# ------------------------------------------------------------------ scenes


def _scene(scene: int, people: tuple[int, int], seed: int, size: int, count: int | None) -> dict:
    """Who stands where in a photo of several people, without drawing it.

    People stand in rows, further ones higher and drawn first, so that nearer ones may hide a
    part of them. ``people`` is the range of identities that are not strangers.
    """
    _check_size(size)
    height, width = size, round(size * 4 / 3)
    rng = seeds.generator(seed, "synthetic scene", scene)
    # As many photos of one to two people as of four to eight or of sixteen to 32.
    drawn = int(2 ** rng.uniform(0, 5.05)) if rng.uniform() > EMPTY_SCENES else 0
    count = drawn if count is None else count
    # What is one for all: light, place and camera.
    s = _session_parameters(SCENE_PLACES, scene, seed)
    e = _shot_parameters(SCENE_PLACES, scene, 0, seed)
    rows = max(1, round(math.sqrt(0.68 * count)))
    columns = max(1, -(-count // rows))
    cell = np.array([width / columns, 0.94 * height / rows])
    chosen = np.sort(rng.permutation(rows * columns)[:count])
    strangers = rng.uniform(size=count) < STRANGERS
    known = people[0] + rng.permutation(people[1] - people[0])[:count]
    views: list[dict] = []
    for at, place in enumerate(chosen):
        stranger = bool(strangers[at]) or at >= len(known)
        number = FIRST_STRANGER + int(rng.integers(10**6)) if stranger else int(known[at])
        row, column = divmod(int(place), columns)
        views.append(_stand(views, rng, number, stranger, scene, (row, column), cell, seed, size))
    if views:
        # Faces grow towards the viewer within a row as well.
        views.sort(key=lambda view: (view["row"], view["focal"] / view["shot"]["distance"]))
        for at, view in enumerate(views):
            view["factors"]["occlusion"] = _hidden(view, views[at + 1 :])
    return {"views": views, "session": s, "shot": e, "height": height, "width": width}


def _stand(others, rng, identity, stranger, scene, place, cell, seed, size) -> dict:
    """A person in their cell of a scene, moved about until nobody's face is mostly hidden."""
    p = _person(identity, seed)
    own = _session_parameters(identity, scene, seed)
    shared = _session_parameters(SCENE_PLACES, scene, seed)
    s = own | {name: value for name, value in shared.items() if name.startswith("light_")}
    s["outdoors"] = shared["outdoors"]
    e = dict(_shot_parameters(identity, scene, 0, seed))
    camera = _shot_parameters(SCENE_PLACES, scene, 0, seed)
    e |= {name: camera[name] for name in ("exposure", "blur", "noise", "jpeg_quality", "distance")}
    row, column = place
    smallest = MIN_FACE * size / 320
    face_width = max(smallest * 1.08, rng.uniform(0.36, 0.58) * min(cell[0], 0.95 * cell[1]))
    pose = _pose(p, e, face_width)
    e["face_scale"] = face_width / size
    x1, y1, x2, y2 = pose["extent"]
    width, height = round(size * 4 / 3), size
    for reach in (0.32, 0.32, 0.24, 0.24, 0.16, 0.16, 0.08, 0.0):
        shift = rng.uniform(-reach, reach, size=2)
        cx, cy = (np.array([column, row]) + 0.5 + shift) * cell + [0, 0.06 * height]
        cx = float(np.clip(cx, 2 - x1, width - 2 - x2))
        cy = float(np.clip(cy, 2 - y1, height - 2 - y2))
        view = _view(p, s, e, pose, (cx, cy), size)
        view |= {"identity": identity, "sitting": scene, "stranger": stranger, "row": row}
        if all(_hidden(other, [view]) <= MOST_HIDDEN for other in others):
            break
    return view


def _hidden(view: dict, nearer: list[dict]) -> float:
    """Share of a face's box behind nearer people, taken as boxes of head and of body."""
    n = 24
    x1, y1, x2, y2 = view["box"]
    x, y = np.meshgrid(np.linspace(x1, x2, n), np.linspace(y1, y2, n))
    covered = np.zeros((n, n), dtype=bool)
    for other in nearer:
        a, top, b, bottom = other["box"]
        wide, tall, middle = b - a, bottom - top, (a + b) / 2
        head = (x >= a) & (x <= b) & (y >= top - 0.55 * tall) & (y <= bottom)
        body = (np.abs(x - middle) < 1.2 * wide) & (y > bottom + 0.28 * tall)
        covered |= head | body
    return float(covered.mean())


# ---------------------------------------------------------------- rendering


def _rays(view: dict, rows: torch.Tensor, columns: torch.Tensor, rotation: np.ndarray):
    """Origin (3 numbers) and unit directions (3 arrays) of rays in a rotated frame.

    ``rows`` and ``columns`` are pixel coordinates of the photo; the frame's origin is the
    head's centre.
    """
    distance, focal = view["shot"]["distance"], view["focal"]
    cx, cy = view["centre"]
    x, y = (columns - cx) / focal, -(rows - cy) / focal
    norm = torch.rsqrt(x * x + y * y + 1)
    to = rotation.T
    origin = to @ np.array([0.0, 0.0, distance])
    direction = [
        (float(to[i, 0]) * x + float(to[i, 1]) * y - float(to[i, 2])) * norm for i in range(3)
    ]
    return [float(o) for o in origin], direction


def _march(radius, origin, direction, t, steps: int, least: float = 0.0):
    """March ``t`` towards the surface; returns it and the height that is left above it.

    ``least`` is the shortest step, in half head heights.
    """
    dx, dy, dz = direction
    outside, inside = t - 0.1, torch.full_like(t, 1e3)
    for step in range(steps + 1):
        x, y, z = ((t * d).add_(o) for o, d in zip(origin, (dx, dy, dz), strict=True))
        length = _sqrt((x * x).add_(y * y).add_(z * z))
        height = length - _sample(radius, x, y, z, length)[0]
        below = height < 0
        inside = torch.where(below, t, inside)
        if step < steps:
            outside = torch.where(below, outside, t)
            # Less than the full height, as noses are steeper than a sphere; once the surface is
            # between two points, halve: at a hair's edge steps would jump to and fro for ever.
            further = (0.75 * height).clamp_(min=least).add_(t)
            t = torch.minimum(further, (outside + inside).mul_(0.5))
    met = inside < 999
    return torch.where(met, inside, t), torch.where(met, 0.0, height)


def _trace_head(view: dict, radius: torch.Tensor) -> dict | None:
    """Where rays meet the head, for the supersampled photo.

    Returns:
        Flat ``index`` into the supersampled photo, ray parameter ``t`` and points ``x, y, z``
        with their ``length`` in the head's frame, all [n].
    """
    scale = _SUPERSAMPLE
    focal, distance = view["focal"], view["shot"]["distance"]
    cx, cy = view["centre"]
    width, height = view["width"] * scale, view["height"] * scale
    reach = float(radius.max()) * 1.02
    half = focal * reach / math.sqrt(distance**2 - reach**2) * scale
    block = _COARSE
    left = max(0, int((cx * scale - half) // block)) * block
    top = max(0, int((cy * scale - half) // block)) * block
    right = min(width, int(cx * scale + half) + block)
    bottom = min(height, int(cy * scale + half) + block)
    columns_n, rows_n = -(-(right - left) // block), -(-(bottom - top) // block)
    if columns_n <= 0 or rows_n <= 0:
        return None

    def pixels(n: int, start: float, step: float) -> torch.Tensor:
        return (start + step * (torch.arange(n, dtype=torch.float32) + 0.5)) / scale

    rows, columns = torch.meshgrid(
        pixels(rows_n, top, block), pixels(columns_n, left, block), indexing="ij"
    )
    origin, direction = _rays(view, rows.ravel(), columns.ravel(), view["rotation"])
    t, above = _march(radius, origin, direction, torch.full((rows.numel(),), distance - reach), 22)
    # A coarse ray that passes close by still wakes its block: noses and strands are thin.
    close = above < 0.06
    t = torch.where(close, t, torch.full_like(t, 1e3)).reshape(1, 1, rows_n, columns_n)
    t = -F.max_pool2d(-t, 3, 1, 1)[0, 0] - 0.05
    t = t.repeat_interleave(block, 0).repeat_interleave(block, 1)[: height - top, : width - left]
    live = (t < 500).nonzero()
    t = t[live[:, 0], live[:, 1]]
    row, column = live[:, 0] + top, live[:, 1] + left
    parts = [
        _trace_fine(view, radius, *part)
        for part in zip(row.split(_CHUNK), column.split(_CHUNK), t.split(_CHUNK), strict=True)
    ]
    if not parts:
        return None
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _trace_fine(view: dict, radius, row, column, t) -> dict:
    """Where the rays of some pixels of the supersampled photo meet the head, from ``t`` on."""
    scale = _SUPERSAMPLE
    origin, direction = _rays(
        view, (row.float() + 0.5) / scale, (column.float() + 0.5) / scale, view["rotation"]
    )
    t, above = _march(radius, origin, direction, t, 8)
    # Few rays graze the surface and need more steps, some to reach what lies behind it.
    slow = (above > 0.003).nonzero()[:, 0]
    t[slow], above[slow] = _march(
        radius, origin, [d[slow] for d in direction], t[slow], 26, least=0.02
    )
    hit = (above < 0.006).nonzero()[:, 0]
    t, row, column = t[hit], row[hit], column[hit]
    x, y, z = (o + t * d[hit] for o, d in zip(origin, direction, strict=True))
    length = _sqrt(x * x + y * y + z * z)
    index = row * (view["width"] * scale) + column
    return {"index": index, "t": t, "x": x, "y": y, "z": z, "length": length}


def _shadow(radius: torch.Tensor, light: np.ndarray) -> torch.Tensor:
    """Light that other parts of the head let through, [1, 1, n, n] in [0, 1], on a small grid."""
    n = GRID // 4
    direction = F.avg_pool2d(_grid_directions()[None], 4)[0].reshape(3, -1)
    own = F.avg_pool2d(radius, 4).ravel()
    dark = torch.zeros_like(own)
    for step in (0.07, 0.12, 0.19, 0.28, 0.40, 0.55, 0.75):
        x, y, z = (own * 1.012 * direction[i] + step * float(light[i]) for i in range(3))
        length = _sqrt(x * x + y * y + z * z)
        inside = _sample(radius, x, y, z, length)[0] - length
        dark = torch.maximum(dark, inside / (0.03 + 0.06 * step))
    return 1 - F.avg_pool2d(dark.clamp(0, 1).reshape(1, 1, n, n), 3, 1, 1)


def _lit(view: dict, normal, light, up, eye, openness, shadow, rgb, gloss) -> torch.Tensor:
    """Colour, [3, n], of surface points under the photo's lights.

    ``light``, ``up`` and ``eye`` are unit vectors of 3 numbers in the normals' frame.
    """
    s = view["session"]
    nx, ny, nz = normal
    facing = nx * float(light[0]) + ny * float(light[1]) + nz * float(light[2])
    wrap = 0.18
    key = s["light_key"] * ((facing + wrap) / (1 + wrap)).clamp(min=0) * shadow
    sky = nx * float(up[0]) + ny * float(up[1]) + nz * float(up[2])
    ambient = s["light_ambient"] * (0.72 + 0.28 * sky) * openness
    half = np.asarray(light) + np.asarray(eye)
    half = half / np.linalg.norm(half)
    shine = (nx * float(half[0]) + ny * float(half[1]) + nz * float(half[2])).clamp(min=0)
    shine2 = shine * shine
    shine16 = ((shine2 * shine2) ** 2) ** 2
    spec = s["light_key"] * shadow * (0.20 * gloss * shine16)
    warm = s["light_warmth"]
    colours = (1 + warm, 1.0, 1 - warm)
    fills = (1 - 0.5 * warm, 1.0, 1 + 0.6 * warm)
    return torch.stack(
        [rgb[c] * (colours[c] * key + fills[c] * ambient) + colours[c] * spec for c in range(3)]
    )


def _hue(hue: float, saturation: float, value: float) -> np.ndarray:
    """Linear RGB of a muted colour; hue, saturation and value in [0, 1]."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3])))
    return (value * (1 - saturation + saturation * wheel)) ** 2.2


def _draw_body(view: dict, canvas: torch.Tensor, depth: torch.Tensor) -> None:
    """Neck and shoulders into ``canvas`` [3, H, W] and ``depth`` [H, W], both supersampled."""
    p, e = view["person"], view["shot"]
    scale = _SUPERSAMPLE
    turn = _rotation(0.35 * e["yaw"] + e["body_yaw"], 0.15 * e["pitch"], 0.2 * e["roll"])
    cx, cy = view["centre"]
    height, width = depth.shape
    unit = view["focal"] / e["distance"] * scale
    reach = 1.15 * p["shoulder_width"] * unit
    left = int(np.clip(cx * scale - reach, 0, width))
    right = int(np.clip(cx * scale + reach, 0, width))
    # The neck is hidden by the head down to its middle.
    top = int(np.clip(cy * scale + 0.15 * unit, 0, height))
    if left >= right:
        return
    band = max(1, _CHUNK // (right - left))
    for start in range(top, height, band):
        part = (slice(start, min(start + band, height)), slice(left, right))
        _draw_body_part(view, canvas, depth, turn, *part)


def _draw_body_part(view: dict, canvas, depth, turn, part_rows: slice, part_columns: slice) -> None:
    p, s = view["person"], view["session"]
    scale = _SUPERSAMPLE
    rows, columns = torch.meshgrid(
        (torch.arange(part_rows.start, part_rows.stop, dtype=torch.float32) + 0.5) / scale,
        (torch.arange(part_columns.start, part_columns.stop, dtype=torch.float32) + 0.5) / scale,
        indexing="ij",
    )
    origin, (dx, dy, dz) = _rays(view, rows, columns, turn)
    far = torch.full_like(dx, 1e3)

    def meet(a, b, c):
        root = (b * b).sub_(a * c)
        missed = root <= 0
        return _sqrt(root.clamp_(min=0)).add_(b).neg_().div_(a).masked_fill_(missed, 1e3)

    # Shoulders: an ellipsoid.
    centre = (0.0, -2.34, -0.42)
    radii = (p["shoulder_width"], 1.12, 0.78)
    ox, oy, oz = ((o - m) / r for o, m, r in zip(origin, centre, radii, strict=True))
    ex, ey, ez = dx / radii[0], dy / radii[1], dz / radii[2]
    t_chest = meet(
        ex * ex + ey * ey + ez * ez, ex * ox + ey * oy + ez * oz, ox * ox + oy * oy + oz * oz - 1
    )
    # Below the shoulders the chest goes straight down.
    t_trunk = meet(ex * ex + ez * ez, ex * ox + ez * oz, ox * ox + oz * oz - 1)
    t_trunk = torch.where(origin[1] + t_trunk * dy < centre[1], t_trunk, far)
    t_chest = torch.where(origin[1] + t_chest * dy < centre[1], far, t_chest)
    t_chest = torch.minimum(t_chest, t_trunk)
    # Neck: a cone frustum, wider at its foot, that leans back.
    lean, flare = 0.16, 0.13
    wide = p["neck_width"]
    nx, nz = origin[0], origin[2] + 0.14 - lean * (origin[1] + 0.5)
    nr = wide - flare * (origin[1] + 0.9)
    gx, gz, gr = dx, dz - lean * dy, -flare * dy
    t_neck = meet(
        gx * gx + gz * gz - gr * gr, gx * nx + gz * nz - gr * nr, nx * nx + nz * nz - nr * nr
    )
    y_neck = origin[1] + t_neck * dy
    t_neck = torch.where((y_neck < -0.2) & (y_neck > -2.4), t_neck, far)

    t = torch.minimum(t_chest, t_neck)
    region = depth[part_rows, part_columns]
    seen = t < torch.minimum(region, far - 1)
    if not bool(seen.any()):
        return
    t, dx, dy, dz = t[seen], dx[seen], dy[seen], dz[seen]
    is_neck = (t_neck < t_chest)[seen]
    x, y, z = origin[0] + t * dx, origin[1] + t * dy, origin[2] + t * dz
    # Normals; the crease where neck and shoulders meet is rounded by mixing the two.
    fx, fz = x, z + 0.14 - lean * (y + 0.5)
    around = torch.rsqrt((fx * fx + fz * fz).clamp(min=1e-6))
    neck_n = torch.stack([fx * around, torch.full_like(fx, flare), fz * around])
    chest_n = torch.stack(
        [
            (x - centre[0]) / radii[0] ** 2,
            (y - centre[1]).clamp(min=0) / radii[1] ** 2,
            (z - centre[2]) / radii[2] ** 2,
        ]
    )
    chest_n = chest_n * torch.rsqrt((chest_n * chest_n).sum(0).clamp(min=1e-8))
    outside = 1 / around - (wide - flare * (y + 0.9))
    blend = torch.where(is_neck, 1 - 0.5 * _step(-y, 1.2, 1.75), 0.5 * _step(outside, 0.35, 0.0))
    folds = 0.10 * torch.sin(5 * x + 3 * y + 7 * s["clothes_hue"]) * torch.sin(2.3 * y - 3 * x)
    normal = blend * neck_n + (1 - blend) * chest_n
    normal[0] = normal[0] + folds * (1 - blend)
    normal = normal * torch.rsqrt((normal * normal).sum(0).clamp(min=1e-8))

    skin = torch.tensor(_ramp(_SKIN_SRGB, p["melanin"]), dtype=torch.float32)[:, None]
    skin = skin * torch.tensor([1.0, 0.94, 0.94])[:, None]
    cloth = _hue(s["clothes_hue"], s["clothes_saturation"], s["clothes_value"])
    cloth = torch.tensor(cloth, dtype=torch.float32)[:, None]
    if s["clothes_stripes"] > 0.55:
        band = 0.72 + 0.28 * _step(torch.sin(11 * y), -0.2, 0.2)
        cloth = cloth * band
    else:
        cloth = cloth * torch.ones_like(x)
    # Neckline: round, V, or a collar that stands up round the neck.
    if s["neckline"] == 1:
        cut = torch.maximum(0.9 * (x.abs() - 0.42 * (y + 2.15)), -z)
        edge = torch.minimum(outside - 0.10, cut)
    elif s["neckline"] == 2:
        edge = torch.where(is_neck, -1.32 - y, outside + 0.05)
    else:
        edge = outside - 0.12
    dressed = _step(edge, -0.012, 0.012)
    seam = 1 - 0.35 * _bell((edge / 0.035) ** 2)
    rgb = (skin + dressed * (cloth - skin)) * seam
    gloss = 0.15 * (1 - dressed)

    # The head keeps light off: its ellipsoid is tested from each point towards the light.
    to_body = turn.T
    light = to_body @ view["light"]
    shrink = (0.62, 0.88, 0.70)
    qx, qy, qz = x / shrink[0], y / shrink[1], z / shrink[2]
    lx, ly, lz = (float(light[i]) / shrink[i] for i in range(3))
    norm = math.sqrt(lx * lx + ly * ly + lz * lz)
    lx, ly, lz = lx / norm, ly / norm, lz / norm
    ahead = -(qx * lx + qy * ly + qz * lz)
    miss = _sqrt((qx * qx + qy * qy + qz * qz - ahead * ahead).clamp(min=1e-6))
    shadow = 1 - 0.9 * _step(miss, 1.18, 0.85) * _step(ahead, 0.0, 0.3)
    gap = _sqrt(qx * qx + qy * qy + qz * qz)
    openness = 0.38 + 0.62 * _step(gap, 0.95, 1.75)
    openness = openness * (1 - 0.25 * _step(outside, 0.3, 0.0) * (~is_neck))
    up = to_body @ np.array([0.0, 1.0, 0.0])
    eye = to_body @ np.array([0.0, 0.0, 1.0])
    colour = _lit(view, normal, light, up, eye, openness, shadow, rgb, gloss)
    canvas[:, part_rows, part_columns][:, seen] = colour
    region[seen] = t


def _draw_head(view: dict, canvas, depth, radius, maps) -> None:
    hit = _trace_head(view, radius)
    if hit is None:
        return
    to_head = view["rotation"].T
    light = to_head @ view["light"]
    up = to_head @ np.array([0.0, 1.0, 0.0])
    eye = to_head @ np.array([0.0, 0.0, 1.0])
    shadow = _shadow(radius, light)
    canvas, depth = canvas.view(3, -1), depth.view(-1)
    parts = zip(*(hit[key].split(_CHUNK) for key in ("x", "y", "z", "length")), strict=True)
    for index, point in zip(hit["index"].split(_CHUNK), parts, strict=True):
        values = _sample(maps, *point)
        lit = 0.12 + 0.88 * _sample(shadow, *point)[0]
        normal = values[0:3] * torch.rsqrt((values[0:3] ** 2).sum(0).clamp(min=1e-6))
        colour = _lit(view, normal, light, up, eye, values[3], lit, values[4:7], values[7])
        canvas[:, index] = colour
    depth[hit["index"]] = hit["t"]


def _draw_glasses(view: dict, canvas, depth) -> None:
    """Rims in a plane before the eyes, arms in two planes back to the ears."""
    p, s, e = view["person"], view["session"], view["shot"]
    scale = _SUPERSAMPLE
    height, width = depth.shape
    unit = view["focal"] / e["distance"] * scale
    cx, cy = view["centre"]
    soft = 0.6 / unit
    rim = s["glasses_rim"]
    plane = _glasses_plane(p)
    half_w, half_h = 0.190 * s["glasses_size"], 0.145 * s["glasses_size"]
    lens_x, lens_y = max(p["eye_spacing"], half_w + 0.07), p["eye_y"] - 0.01
    hinge, ear = lens_x + half_w, p["head_width"] + 0.045
    # Only where the box round rims and arms is seen can there be any of them.
    air = rim + 2 * soft
    corners = itertools.product(
        (-max(hinge, ear) - air, max(hinge, ear) + air),
        (lens_y - half_h - air, lens_y + half_h + air),
        (-0.05, plane),
    )
    x, y, z = view["rotation"] @ np.array(list(corners)).T
    enlarged = view["focal"] * scale / (e["distance"] - z)
    x, y = cx * scale + enlarged * x, cy * scale - enlarged * y
    top, bottom = (
        int(np.clip(at, cy * scale - 0.85 * unit, cy * scale + 0.85 * unit).clip(0, height))
        for at in (y.min() - 2, y.max() + 2)
    )
    left, right = (
        int(np.clip(at, cx * scale - 1.15 * unit, cx * scale + 1.15 * unit).clip(0, width))
        for at in (x.min() - 2, x.max() + 2)
    )
    if top >= bottom or left >= right:
        return
    rows, columns = torch.meshgrid(
        (torch.arange(top, bottom, dtype=torch.float32) + 0.5) / scale,
        (torch.arange(left, right, dtype=torch.float32) + 0.5) / scale,
        indexing="ij",
    )
    origin, (dx, dy, dz) = _rays(view, rows, columns, view["rotation"])
    region = depth[top:bottom, left:right]
    picture = canvas[:, top:bottom, left:right]
    tone = torch.full((3,), s["glasses_tone"] ** 2)
    # Rims.
    t = (plane - origin[2]) / dz
    x, y = origin[0] + t * dx, origin[1] + t * dy
    corner = s["glasses_round"] * half_h
    qx = (x.abs() - lens_x).abs() - half_w + corner
    qy = (y - lens_y).abs() - half_h + corner
    shape = _sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2)
    shape = shape + torch.maximum(qx, qy).clamp(max=0) - corner
    bridge = torch.maximum((y - lens_y - 0.035).abs(), (x.abs() - (lens_x - half_w)))
    line = torch.minimum(shape.abs(), bridge.clamp(min=0)) - rim
    ahead = _step(region - t, -0.02, 0.02)
    cover = _step(line, soft, -soft) * ahead
    # A little light is lost in the lens.
    lens = 0.08 * _step(shape, soft, -soft) * ahead
    picture.mul_(1 - lens)
    picture.add_(cover * (tone[:, None, None] - picture))
    # Arms.
    for side in (-1.0, 1.0):
        slope = (ear - hinge) / (plane + 0.05)
        # Plane: side * x = hinge + slope * (plane - z).
        t = (hinge + slope * (plane - origin[2]) - side * origin[0]) / (side * dx + slope * dz)
        y, z = origin[1] + t * dy, origin[2] + t * dz
        line = torch.maximum((y - lens_y - 0.04).abs() - rim, (z - plane).clamp(min=0))
        cover = _step(line, soft, -soft) * (z > -0.05) * _step(region - t, -0.02, 0.02)
        cover = cover * (t > 0) * ((side * dx + slope * dz).abs() > 0.02)
        picture.add_(cover * (tone[:, None, None] - picture))


@functools.lru_cache(maxsize=2)
def _place(identity: int, session: int, seed: int, outdoors: bool) -> torch.Tensor:
    """Blurred surroundings of a session, linear RGB [1, 3, 192, 320]."""
    rng = seeds.generator(seed, "synthetic place", identity, session)
    width, height = 320, 192

    def muted(value: float, saturation: float = 0.16, hue: float | None = None) -> tuple:
        hue = rng.uniform() if hue is None else hue
        rgb = _hue(hue, saturation * rng.uniform(0.3, 1), np.clip(value, 0.04, 0.97)) ** (1 / 2.2)
        return tuple(int(v) for v in np.round(rgb * 255))

    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)

    def gradient(top: tuple, bottom: tuple, y0: int, y1: int) -> None:
        for row in range(y0, y1):
            k = (row - y0) / max(1, y1 - y0)
            line = tuple(round(a + k * (b - a)) for a, b in zip(top, bottom, strict=True))
            draw.line([(0, row), (width, row)], fill=line)

    def foliage(y0: float, y1: float, count: int, size: float) -> None:
        for _ in range(count):
            x, y = rng.uniform(0, width), rng.uniform(y0, y1)
            r = size * rng.uniform(0.4, 1.3)
            colour = muted(rng.uniform(0.18, 0.5), 0.42, rng.uniform(0.22, 0.34))
            draw.ellipse([x - r, y - 0.8 * r, x + r, y + 0.8 * r], fill=colour)

    if outdoors:
        horizon = int(rng.uniform(0.35, 0.65) * height)
        gradient(muted(0.80, 0.22, 0.60), muted(0.92, 0.08, 0.58), 0, horizon)
        gradient(muted(0.48, 0.2, 0.22), muted(0.36, 0.22, 0.16), horizon, height)
        kind = rng.integers(0, 3)
        if kind == 0:
            foliage(horizon - 50, horizon + 15, 90, 18)
        elif kind == 1:
            x = -20.0
            while x < width:
                w = rng.uniform(35, 80)
                roof = horizon - rng.uniform(20, 110)
                draw.rectangle([x, roof, x + w, horizon + 12], fill=muted(rng.uniform(0.35, 0.75)))
                pane = muted(rng.uniform(0.25, 0.5), 0.1, 0.6)
                for wx in np.arange(x + 6, x + w - 8, 14):
                    for wy in np.arange(roof + 8, horizon - 6, 20):
                        draw.rectangle([wx, wy, wx + 6, wy + 10], fill=pane)
                x += w + rng.uniform(-2, 14)
            foliage(horizon, horizon + 12, 12, 12)
        else:
            for ridge in range(3):
                base = horizon - 26 + 14 * ridge
                phase, speed = rng.uniform(0, 6), rng.uniform(0.01, 0.03)
                shape = [
                    (x, base - 16 * math.sin(speed * x + phase)) for x in range(0, width + 8, 8)
                ]
                colour = muted(0.62 - 0.12 * ridge, 0.25, 0.5 - 0.1 * ridge)
                draw.polygon([*shape, (width, height), (0, height)], fill=colour)
        blur = rng.uniform(1.2, 6.0)
    else:
        wall = rng.uniform(0.42, 0.86)
        hue = rng.uniform(0.02, 0.16) if rng.uniform() < 0.7 else rng.uniform(0.4, 0.65)
        gradient(muted(wall + 0.05, 0.14, hue), muted(wall - 0.08, 0.14, hue), 0, height)
        for thing in rng.permutation(8)[: rng.integers(1, 6)]:
            x = rng.uniform(-20, width - 60)
            if thing == 0:  # window
                w, h, y = rng.uniform(50, 90), rng.uniform(70, 110), rng.uniform(5, 35)
                frame = muted(rng.choice([0.85, 0.35]), 0.1)
                draw.rectangle([x - 4, y - 4, x + w + 4, y + h + 4], fill=frame)
                draw.rectangle([x, y, x + w, y + h], fill=muted(0.95, 0.1, 0.58))
                draw.rectangle([x, y + 0.6 * h, x + w, y + h], fill=muted(0.6, 0.25, 0.3))
                draw.rectangle([x + w / 2 - 2, y, x + w / 2 + 2, y + h], fill=frame)
            elif thing == 1:  # shelf of books
                w, y = rng.uniform(70, 130), rng.uniform(5, 30)
                wood = muted(rng.uniform(0.25, 0.6), 0.35, 0.08)
                draw.rectangle([x, y, x + w, y + 120], fill=muted(wall * 0.5, 0.15, hue))
                for level in range(4):
                    foot = y + 30 * (level + 1)
                    bx = x + 3
                    while bx < x + w - 6:
                        bw, bh = rng.uniform(3, 9), rng.uniform(14, 25)
                        if rng.uniform() < 0.85:
                            book = muted(rng.uniform(0.2, 0.75), 0.4)
                            draw.rectangle([bx, foot - bh, bx + bw, foot], fill=book)
                        bx += bw + 0.5
                    draw.rectangle([x, foot, x + w, foot + 3], fill=wood)
            elif thing == 2:  # picture
                w, h, y = rng.uniform(25, 60), rng.uniform(25, 50), rng.uniform(10, 50)
                draw.rectangle([x, y, x + w, y + h], fill=muted(rng.uniform(0.1, 0.5), 0.3, 0.08))
                draw.rectangle([x + 3, y + 3, x + w - 3, y + h - 3], fill=muted(0.75, 0.2))
                draw.ellipse([x + 8, y + 8, x + w - 8, y + h - 6], fill=muted(0.5, 0.3))
            elif thing == 3:  # door
                w = rng.uniform(50, 70)
                draw.rectangle([x, 15, x + w, height], fill=muted(rng.uniform(0.3, 0.8), 0.2, 0.08))
                draw.rectangle([x + 8, 26, x + w - 8, 85], fill=muted(wall - 0.1, 0.15, 0.08))
            elif thing == 4:  # lamp: round and bright, as a face may be
                r, y = rng.uniform(9, 22), rng.uniform(25, 90)
                draw.line([x, y, x, 190], fill=muted(0.25, 0.1), width=3)
                shade = muted(rng.uniform(0.7, 0.95), 0.3, 0.1)
                draw.ellipse([x - r, y - 1.15 * r, x + r, y + 1.15 * r], fill=shade)
            elif thing == 5:  # clock
                r, y = rng.uniform(9, 18), rng.uniform(22, 60)
                draw.ellipse([x - r, y - r, x + r, y + r], fill=muted(rng.choice([0.9, 0.3])))
                rim = muted(0.2, 0.2)
                draw.ellipse([x - r, y - r, x + r, y + r], outline=rim, width=2)
                draw.line([x, y, x + 0.5 * r, y - 0.3 * r], fill=rim, width=2)
                draw.line([x, y, x - 0.1 * r, y - 0.75 * r], fill=rim, width=1)
            elif thing == 6:  # vases on a board, in the colours of clay and of skin
                y = rng.uniform(60, 120)
                draw.rectangle([x, y, x + 90, y + 5], fill=muted(0.4, 0.35, 0.08))
                for vx in np.arange(x + 12, x + 85, 26):
                    h, tone = rng.uniform(16, 36), _SKIN_SRGB[rng.integers(0, 6)]
                    draw.ellipse([vx - 0.4 * h, y - h, vx + 0.4 * h, y], fill=tone)
                    draw.rectangle([vx - 4, y - 1.25 * h, vx + 4, y - 0.8 * h], fill=tone)
            else:  # plant
                y = rng.uniform(70, 120)
                for _ in range(22):
                    px, py = x + rng.normal() * 15, y + rng.normal() * 20
                    leaf = muted(rng.uniform(0.2, 0.48), 0.42, rng.uniform(0.24, 0.36))
                    draw.ellipse([px - 9, py - 5, px + 9, py + 5], fill=leaf)
                draw.rectangle([x - 12, y + 25, x + 12, y + 55], fill=muted(0.5, 0.3, 0.05))
        blur = rng.uniform(0.7, 4.5)
    image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = torch.from_numpy(np.array(image)).float() / 255
    # Light falls off over the place, as from one side.
    fall = 1 + rng.uniform(-0.25, 0.25) * torch.linspace(-1, 1, width)
    brightness = 0.75 * rng.uniform(0.8, 1.1)
    return (pixels**2.2).permute(2, 0, 1)[None] * fall * brightness


def _background(e: Parameters, place: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Surroundings as the shot frames them, [3, H, W]."""
    rows, columns = place.shape[-2:]
    h = rows * (0.86 - 0.2 * e["background_zoom"])
    w = h * width / height
    left = (columns - w) * (0.5 + 0.42 * e["background_x"])
    top = (rows - h) * 0.4
    y = (top + h * (torch.arange(height) + 0.5) / height) / rows * 2 - 1
    x = (left + w * (torch.arange(width) + 0.5) / width) / columns * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None].float()
    return F.grid_sample(place, grid, padding_mode="border", align_corners=False)[0]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run PyTorch on one thread, so that pixels do not depend on how work is cut in parts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def render_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> tuple[np.ndarray, list[dict]]:
    """Draw one photo of one person.

    Args:
        identity: number of the person, 0 or more.
        session: number of the sitting, 0 or more.
        shot: number of the photo in its session, 0 or more.
        seed: the dataset's seed.
        size: shorter side of the photo in pixels, at least 32; photos are landscape, 4:3.
        changes: shot parameters to replace, by name, such as ``{"yaw": 40.0}``: the same photo
            but for that.
        camera: ``"camera"``, or ``"phone"``: held near, in warm and hard lamplight, with more
            noise and blur.

    Returns:
        The photo, uint8 sRGB [H, W, 3], before any JPEG compression, and its faces, here one: a
        dict with ``identity``; ``stranger`` (False); ``box``, float32 [x1, y1, x2, y2] in
        pixels, inside the photo: the projection of the head's surface from the brows to the chin
        and from ear to ear, be hair or another head over it or not; ``landmarks``, float32
        [5, 2] in pixels: the eyes' centres, the nose's tip and the mouth's corners, left ones of
        a face that looks into the camera first, whether they can be seen or not; ``factors``,
        what is known of how it came about, numbers by name (angles in degrees, ``noise`` in grey
        levels, ``blur`` the Gaussian's sigma in pixels of a photo of size 320, ``face_scale``
        the head's width as a share of the shorter side, ``occlusion`` the share of the box
        behind nearer people).

    Raises:
        ValueError: ``size`` is below 32, ``changes`` names what a shot does not have, or the
            camera is unknown.
    """
    with _one_thread():
        view = _portrait(identity, session, shot, seed, size, changes, camera)
        canvas = _canvas(view, identity, session, seed)
        _draw_person(view, canvas, seed)
        rng = seeds.generator(seed, "synthetic noise", identity, session, shot)
        photo = _developed(canvas, view["shot"], size, rng)
    return photo, [_face(view)]


def render_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> tuple[np.ndarray, list[dict]]:
    """Draw one photo of several people, or of none.

    Args:
        scene: number of the photo, 0 or more; everybody in it sits for it once.
        people: first and past-the-last identity of those who are not strangers.
        seed: the dataset's seed.
        size: as for :func:`render_photo`.
        count: number of people, at most 32 for faces of at least ``MIN_FACE`` pixels at size
            320; None draws it, 0 to 32.

    Returns:
        The photo and its faces, as :func:`render_photo`, further people first.

    Raises:
        ValueError: ``size`` is below 32, ``count`` not in 0..32, or ``people`` no range.
    """
    if count is not None and not 0 <= count <= 32:
        raise ValueError(f"count is {count}, a scene holds 0 to 32 people")
    if not 0 <= people[0] < people[1]:
        raise ValueError(f"people is {people}, needs a first and a larger past-the-last number")
    with _one_thread():
        laid_out = _scene(scene, people, seed, size, count)
        canvas = _canvas(laid_out, SCENE_PLACES, scene, seed)
        for view in laid_out["views"]:
            _draw_person(view, canvas, seed)
        rng = seeds.generator(seed, "synthetic noise", SCENE_PLACES, scene)
        photo = _developed(canvas, laid_out["shot"], size, rng)
    return photo, [_face(view) for view in laid_out["views"]]


def _face(view: dict) -> dict:
    keys = ("identity", "stranger", "box", "landmarks", "factors")
    return {key: view[key] for key in keys}


def _canvas(view: dict, identity: int, session: int, seed: int) -> torch.Tensor:
    """Linear RGB, supersampled, with the surroundings and nobody yet, [3, H, W]."""
    outdoors = bool(view["session"]["outdoors"])
    place = _place(identity, session, seed, outdoors)
    behind = _background(view["shot"], place, view["height"], view["width"])
    return behind.repeat_interleave(_SUPERSAMPLE, 1).repeat_interleave(_SUPERSAMPLE, 2)


def _draw_person(view: dict, canvas: torch.Tensor, seed: int) -> None:
    """A person over whatever the canvas shows."""
    light = view["rotation"].T @ view["light"]
    radius, maps = _head(
        view["identity"], view["sitting"], seed, view["shot"], light, view["session"]["beard"]
    )
    depth = torch.full(canvas.shape[1:], 900.0)
    _draw_head(view, canvas, depth, radius, maps)
    _draw_body(view, canvas, depth)
    if view["session"]["glasses"]:
        _draw_glasses(view, canvas, depth)


def _developed(canvas: torch.Tensor, e: Parameters, size: int, rng) -> np.ndarray:
    """The camera's part: exposure, tone curve, blur and noise; uint8 sRGB [H, W, 3]."""
    # Tone curve before averaging, so that bright edges do not stay jagged.
    picture = 1 - _exp(-1.35 * e["exposure"] * canvas)
    picture = F.avg_pool2d(picture[None], _SUPERSAMPLE)[0].clamp_(min=1e-5).pow_(1 / 2.2)
    picture = picture.numpy()
    sigma = e["blur"] * size / 320
    if sigma > 0.15:
        picture = gaussian_filter(picture, (0, sigma, sigma), truncate=3)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture *= 255
    grain *= np.float32(e["noise"])
    picture += grain
    photo = np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(photo)


def lay_out_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    camera: str = "camera",
) -> tuple[np.ndarray, list[dict]]:
    """What :func:`render_photo` returns, quickly and with a black photo."""
    with _one_thread():
        view = _portrait(identity, session, shot, seed, size, camera=camera)
    return np.zeros((view["height"], view["width"], 3), np.uint8), [_face(view)]


def lay_out_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> tuple[np.ndarray, list[dict]]:
    """What :func:`render_scene` returns, quickly and with a black photo."""
    with _one_thread():
        laid_out = _scene(scene, people, seed, size, count)
    photo = np.zeros((laid_out["height"], laid_out["width"], 3), np.uint8)
    return photo, [_face(view) for view in laid_out["views"]]
