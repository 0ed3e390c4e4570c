"""The head's shape: a radius for each direction, from the parameters of identity and shot.

The surface is star-shaped about the origin of the head's frame. Its directions are the cells of a
square grid, Lambert's azimuthal equal-area projection of the sphere about the middle of the face:
the point (u, v) of the disc of radius 1 stands for the direction
(2 u w, 2 v w, 1 - 2 (u² + v²)) with w = sqrt(1 - u² - v²). The middle of the grid looks into the
camera; its rim is the back of the head.

The skull is two ellipsoids, cranium and jaw. Features are soft bumps and hollows added to its
radius, placed by the coordinates x and y that a direction meets the skull at (:class:`Layout`).
Lengths are in half head heights.
"""

import functools

import torch
import torch.nn.functional as F

from thesislib.synthetic.numerics import bell, bump, exp, smoothstep, sqrt
from thesislib.synthetic.parameters import Parameters

GRID = 400  # cells along a side of the head's grid


@functools.cache
def grid_directions() -> torch.Tensor:
    """Unit direction of each cell, [3, GRID, GRID]; rows go up, columns to the right."""
    at = (torch.arange(GRID, dtype=torch.float32) + 0.5) / GRID * 2 - 1
    v, u = torch.meshgrid(at, at, indexing="ij")
    squared = u * u + v * v
    # Corners lie outside the projection's disc; they repeat its rim (behind the head).
    shrink = sqrt(0.985 / squared.clamp(min=0.985))
    u, v, squared = u * shrink, v * shrink, squared * shrink * shrink
    forward = 2 * sqrt(1 - squared)
    return torch.stack([u * forward, v * forward, 1 - 2 * squared])


def sample(
    maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, length: torch.Tensor
) -> torch.Tensor:
    """Bilinear values of maps in the directions of some points.

    Args:
        maps: [1, C, rows, columns], over the whole grid of directions at any resolution.
        x, y, z: coordinates of the points, [n] each.
        length: their distances from the origin, [n].

    Returns:
        [C, n].
    """
    scale = (length + z).mul_(2 * length).clamp_(min=1e-6).rsqrt_()
    at = torch.empty(1, 1, len(x), 2)
    torch.mul(x, scale, out=at[0, 0, :, 0])
    torch.mul(y, scale, out=at[0, 0, :, 1])
    return F.grid_sample(maps, at, padding_mode="border", align_corners=False)[0, :, 0]


def ellipsoid_radius(
    direction: torch.Tensor,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> torch.Tensor:
    """Distance from the origin to an ellipsoid round it, [...] along unit directions [3, ...]."""
    # The larger root t of |(t d - centre) / radii|² = 1.
    a, b = torch.zeros(()), torch.zeros(())
    c = -1.0
    for d, m, r in zip(direction, centre, radii, strict=True):
        a = a + (d / r) ** 2
        b = b + d * (m / r**2)
        c += (m / r) ** 2
    return (b + sqrt(b * b - a * c)) / a


def _skull(direction: torch.Tensor, p: Parameters) -> torch.Tensor:
    """Radius of the head without features: cranium and jaw, blended."""
    cranium = ellipsoid_radius(
        direction, (0, 0.21, -0.14), (p["head_width"], p["head_height"], p["head_depth"])
    )
    height = 0.74 + p["chin_length"]
    jaw = ellipsoid_radius(direction, (0, -0.23, 0.15), (p["jaw_width"], height, 0.60))
    # Smooth maximum: the 16th-power mean has no crease where the two meet.
    cranium, jaw = cranium**2, jaw**2
    return sqrt(sqrt(sqrt(sqrt(cranium**8 + jaw**8))))


class Layout:
    """Where things are on a face: coordinates and masks that shape and colour share.

    Args:
        direction: [3, ...] unit directions.
        p: parameters of the identity.
        e: parameters of the shot, of which only the expression is used; None: a neutral face.

    Attributes:
        skull: radius of the head without features, [...] as all tensors here.
        x, y, z: where a direction meets the skull; ``ax`` is abs(x), ``side`` is the sign of x.
        front: 1 on the face, falling to 0 towards the ears.
        smile, open, brow_raise: the expression.
        ex, ey: coordinates about the middle of the nearer eye, ``ex`` in its half widths.
        upper_lid, lower_lid: how far below the upper lid's edge, above the lower one's;
            ``opening``, the smaller of the two, is positive between the lids.
        gaze: how far the irises are off the middle, across and up.
        mx: x in half widths of the mouth.
        mouth_within: 1 - mx², 0 beside the mouth.
        mouth_above: height over the line where closed lips meet.
        upper_from, lower_from: heights over that line at which the lips begin; between them the
            mouth is open, and ``in_mouth`` is positive.
        upper_lip, lower_lip: thickness of the lips.
    """

    def __init__(self, direction: torch.Tensor, p: Parameters, e: Parameters | None) -> None:
        e = e or {}
        self.p = p
        self.skull = _skull(direction, p)
        x, self.y, self.z = (self.skull * d for d in direction)
        self.x, y = x, self.y
        self.side = torch.where(x < 0, -1.0, 1.0)
        self.ax = ax = x.abs()
        self.front = smoothstep(self.z, -0.05, 0.3)
        self.smile, self.open = e.get("smile", 0.0), e.get("mouth_open", 0.0)

        self.brow_raise = 0.03 * e.get("brow_raise", 0.0)
        eye_open = p["eye_open"] * e.get("eye_opening", 1.0) * (1 - 0.18 * max(0.0, self.smile))
        self.ex = (ax - p["eye_spacing"]) / p["eye_width"]
        self.ey = y - p["eye_y"] - p["eye_tilt"] * (ax - p["eye_spacing"])
        arch = (1 - self.ex * self.ex).clamp(min=-1.0)
        # The upper lid peaks towards the nose, the lower one away from it.
        self.upper_lid = 1.1 * eye_open * arch * (1 - 0.12 * self.ex) - self.ey
        self.lower_lid = self.ey + 0.62 * eye_open * arch * (1 + 0.12 * self.ex)
        self.opening = torch.minimum(self.upper_lid, self.lower_lid)
        self.gaze = (0.04 * e.get("gaze_x", 0.0), 0.03 * e.get("gaze_y", 0.0))

        width = p["mouth_width"] * (1 + 0.18 * max(0.0, self.smile) - 0.06 * self.open)
        self.mx = mx = x / width
        within = (1 - mx * mx).clamp(min=0)
        line = (
            p["mouth_y"]
            + p["mouth_tilt"] * x
            + 0.055 * (self.smile + p["mouth_curve"]) * ((mx * mx).clamp(max=1.3) - 0.35)
        )
        gap = 0.10 * self.open * sqrt(within)
        above = y - line
        self.mouth_above = above
        self.upper_from, self.lower_from = 0.3 * gap, -0.7 * gap
        bow = 1 - 0.22 * bell((mx / 0.16) ** 2)
        self.upper_lip = p["lip_upper"] * sqrt(within) * bow
        self.lower_lip = p["lip_lower"] * sqrt(within)
        self.in_mouth = torch.minimum(self.upper_from - above, above - self.lower_from)
        self.mouth_within = within


def skin_radius(f: Layout) -> torch.Tensor:
    """Radius of the hairless head in the layout's directions, [...]."""
    p, x, y, ax = f.p, f.x, f.y, f.ax
    eye_x, eye_y = p["eye_spacing"], p["eye_y"]
    add = p["cheekbone"] * bump(ax, y, 0.44, -0.12, 0.14, 0.12)
    add = add + (p["cheek_fullness"] + 0.025 * max(0.0, f.smile)) * bump(
        ax, y, 0.34, -0.36, 0.15, 0.16
    )
    add = add + p["jaw_square"] * bump(ax, y, 0.42, -0.62, 0.14, 0.13)
    add = add + p["brow_ridge"] * bump(ax, y, 0.22, p["brow_y"] - 0.01, 0.20, 0.07)
    add = add - p["temples"] * bump(ax, y, 0.52, 0.34, 0.12, 0.16)
    add = add + 0.05 * p["jowls"] * bump(ax, y, 0.36, -0.74, 0.11, 0.10)
    # Sockets, with the ball of the eye and its lids in them.
    add = add - p["eye_depth"] * bump(ax, y, eye_x - 0.03, eye_y + 0.02, 0.13, 0.085)
    ball = bump(f.ex, f.ey, 0.0, 0.0, 0.75, 0.085)
    add = add + 0.042 * ball
    lid = bell(((f.upper_lid + 0.012) / 0.016) ** 2) * (f.ex.abs() < 1.35)
    add = add + 0.011 * lid * bell((f.ex / 0.9) ** 4)
    crease = bell(((f.upper_lid + p["eye_crease"] + 0.012) / 0.013) ** 2)
    add = add - 0.010 * (1 - p["eye_fold"]) * crease * bell((f.ex / 0.9) ** 4)
    # Nose: a ridge that rises from between the eyes to the tip, two wings, then the lip.
    root, tip = eye_y + 0.05, eye_y + 0.05 - p["nose_length"]
    along = ((root - y) / p["nose_length"]).clamp(-0.6, 2)
    rise = p["nose_bridge"] * smoothstep(along, -0.35, 0.5) + (1 - p["nose_bridge"]) * smoothstep(
        along, 0.15, 1.0
    )
    fall = 1 - smoothstep(along, 0.98 + p["nose_tip"], 1.22 + 1.4 * p["nose_tip"])
    middle = x - p["nose_bend"] * along.clamp(0, 1)
    narrow = p["nose_breadth"]
    breadth = narrow + (0.64 * p["nose_width"] - narrow) * smoothstep(along, 0.2, 1.0)
    height = p["nose_projection"] * rise + p["nose_hump"] * bell(((along - 0.42) / 0.2) ** 2)
    add = add + height * fall * bell(0.5 * (middle / breadth) ** 2)
    wings = bump(middle.abs(), y, 0.80 * p["nose_width"], tip - 0.015, 0.040, 0.050)
    add = add + p["nose_wings"] * wings
    # Lips, the groove under them, the chin.
    lips = f.mouth_within**2 * (3 - 2 * f.mouth_within)
    upper = (f.mouth_above - f.upper_from - 0.4 * p["lip_upper"]) / (0.6 * p["lip_upper"])
    lower = (f.mouth_above - f.lower_from + 0.5 * p["lip_lower"]) / (0.6 * p["lip_lower"])
    add = add + lips * (
        (0.012 + 0.35 * p["lip_upper"]) * bell(upper * upper)
        + (0.012 + 0.35 * p["lip_lower"]) * bell(lower * lower)
    )
    add = add - 0.05 * smoothstep(f.in_mouth, 0.0, 0.02) * (f.open > 0.02)
    add = add + 0.045 * bump(x, y, 0, p["mouth_y"], 0.24, 0.15)
    drop = 0.04 * f.open
    chin_y = -0.80 - p["chin_length"] - drop
    add = add + p["chin_projection"] * bump(x, y, 0, chin_y, p["chin_width"], 0.13)
    add = add - 0.03 * p["chin_cleft"] * bump(x, y, 0, chin_y + 0.02, 0.025, 0.06)
    add = add + drop * bump(x, y, 0, -0.95, 0.40, 0.16)
    # Fold from the wings of the nose to the corners of the mouth.
    fold_x = 0.15 + 0.36 * (tip - y).clamp(-0.05, 0.35)
    fold = bell(((ax - fold_x) / 0.022) ** 2) * smoothstep(y, p["mouth_y"] - 0.08, tip - 0.1)
    fold = fold * (1 - smoothstep(y, tip, tip + 0.06))
    add = add - 0.012 * (0.4 * p["fold"] + 0.7 * max(0.0, f.smile)) * fold
    radius = f.skull + f.front * add
    # Ears, on the sides: a flap with a hollow.
    size = p["ear_size"]
    away = (((f.z + 0.10) / (0.085 * size)) ** 2 + ((y + 0.03) / (0.20 * size)) ** 2) ** 2
    flap, near = torch.zeros_like(away), away < 104  # beyond, float32 has no digit for it
    flap[near] = exp(-away[near])
    hollow = bump(f.z, y, -0.075, -0.03, 0.030 * size, 0.08 * size)
    out = (p["ear_out"] * flap - 0.045 * hollow) * smoothstep(ax, 0.3, 0.5)
    return radius + out


@functools.cache
def probe_directions() -> torch.Tensor:
    """Unit directions over the front half of the head, [3, n], to measure the face with."""
    at = torch.linspace(-0.74, 0.74, 75)
    v, u = torch.meshgrid(at, at, indexing="ij")
    squared = u * u + v * v
    forward = 2 * sqrt((1 - squared).clamp(min=0))
    direction = torch.stack([u * forward, v * forward, 1 - 2 * squared])
    return direction[:, squared < 0.9]


def in_face(f: Layout) -> torch.Tensor:
    """Whether a direction is in the face: brows to chin, from ear to ear; bool [...]."""
    # The ears begin at z = -0.02; under the jaw the face ends where it turns to the neck.
    return (f.y < f.p["brow_y"] + f.p["brow_thickness"]) & (f.z > 0.0)


def directions_at(x: torch.Tensor, y: torch.Tensor, p: Parameters) -> torch.Tensor:
    """Unit directions, [3, n], in which the layout's coordinates are ``x`` and ``y`` [n]."""
    z = torch.full_like(x, 0.7)
    for _ in range(12):  # a fixed point: the skull's z follows from the direction
        point = torch.stack([x, y, z])
        direction = point / point.norm(dim=0)
        z = _skull(direction, p) * direction[2]
    return direction


def landmarks(p: Parameters, e: Parameters) -> torch.Tensor:
    """Eyes, tip of the nose and corners of the mouth on the surface of the head, [3, 5]."""
    smile, opened = e["smile"], e["mouth_open"]
    corner = p["mouth_width"] * (1 + 0.18 * max(0.0, smile) - 0.06 * opened)
    corner_y = p["mouth_y"] + 0.055 * (smile + p["mouth_curve"]) * 0.65
    x = [-p["eye_spacing"], p["eye_spacing"], p["nose_bend"], -corner, corner]
    eye, tilt = p["eye_y"], p["mouth_tilt"] * corner
    y = [eye, eye, eye + 0.05 - p["nose_length"], corner_y - tilt, corner_y + tilt]
    direction = directions_at(torch.tensor(x), torch.tensor(y), p)
    return skin_radius(Layout(direction, p, e)) * direction
