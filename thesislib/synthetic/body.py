"""Neck, shoulders and clothes, met by rays in closed form.

The body's frame has the head's origin, turns with a third of the head's yaw, and is upright but
for a little of its pitch and roll. The shoulders are an ellipsoid with an elliptic cylinder below
its middle, the neck is a cone frustum that leans back. Lengths are in half head heights.
"""

import math

import numpy as np
import torch

from thesislib.synthetic.camera import FAR, SUPERSAMPLE, Vector, View, pixel_centres, rays, rotation
from thesislib.synthetic.colours import muted, skin_colour
from thesislib.synthetic.numerics import CHUNK, bell, smoothstep, sqrt
from thesislib.synthetic.parameters import Parameters
from thesislib.synthetic.renderer import lights, shade

_CHEST_CENTRE = (0.0, -2.34, -0.42)
# The neck's axis is x = 0, z = -0.14 + _LEAN (y + 0.5).
_LEAN, _FLARE = 0.16, 0.13


def draw_body(view: View, canvas: torch.Tensor, depth: torch.Tensor) -> None:
    """Draw neck and shoulders over a supersampled canvas where nothing nearer is.

    Args:
        view: the person before the camera.
        canvas: linear RGB [3, H, W], changed in place.
        depth: length of the ray to what is drawn already, [H, W], changed in place.
    """
    p, e = view.person, view.shot
    scale = SUPERSAMPLE
    turn = rotation(0.35 * e["yaw"] + e["body_yaw"], 0.15 * e["pitch"], 0.2 * e["roll"])
    cx, cy = view.centre
    height, width = depth.shape
    unit = view.nearness * scale
    reach = 1.15 * p["shoulder_width"] * unit
    left = int(np.clip(cx * scale - reach, 0, width))
    right = int(np.clip(cx * scale + reach, 0, width))
    # The neck is hidden by the head down to its middle.
    top = int(np.clip(cy * scale + 0.15 * unit, 0, height))
    if left >= right:
        return
    band = max(1, CHUNK // (right - left))
    for start in range(top, height, band):
        _draw_band(view, canvas, depth, turn, (start, min(start + band, height)), (left, right))


def _draw_band(
    view: View,
    canvas: torch.Tensor,
    depth: torch.Tensor,
    turn: np.ndarray,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    """The body in some rows and columns (first and past the last) of the supersampled photo."""
    p, s = view.person, view.session
    wide, radii = p["neck_width"], (p["shoulder_width"], 1.12, 0.78)
    origin, (dx, dy, dz) = rays(view, *pixel_centres(rows, columns), turn)
    t_chest = _meet_chest(origin, (dx, dy, dz), radii)
    t_neck = _meet_neck(origin, (dx, dy, dz), wide)
    t = torch.minimum(t_chest, t_neck)
    part = slice(*rows), slice(*columns)
    seen = t < depth[part]
    if not bool(seen.any()):
        return
    t, dx, dy, dz = t[seen], dx[seen], dy[seen], dz[seen]
    is_neck = (t_neck < t_chest)[seen]
    x, y, z = origin[0] + t * dx, origin[1] + t * dy, origin[2] + t * dz
    # From the neck's axis outwards, and how far outside the neck a point is.
    fx, fz = x, z + 0.14 - _LEAN * (y + 0.5)
    around = torch.rsqrt((fx * fx + fz * fz).clamp(min=1e-6))
    outside = 1 / around - (wide - _FLARE * (y + 0.9))

    neck_n = torch.stack([fx * around, torch.full_like(fx, _FLARE), fz * around])
    chest_n = torch.stack(
        [
            (x - _CHEST_CENTRE[0]) / radii[0] ** 2,
            (y - _CHEST_CENTRE[1]).clamp(min=0) / radii[1] ** 2,
            (z - _CHEST_CENTRE[2]) / radii[2] ** 2,
        ]
    )
    chest_n = chest_n * torch.rsqrt((chest_n * chest_n).sum(0).clamp(min=1e-8))
    # The crease where neck and shoulders meet is rounded by mixing the two normals.
    on_neck, on_chest = 1 - 0.5 * smoothstep(-y, 1.2, 1.75), 0.5 * smoothstep(outside, 0.35, 0.0)
    blend = torch.where(is_neck, on_neck, on_chest)
    folds = 0.10 * torch.sin(5 * x + 3 * y + 7 * s["clothes_hue"]) * torch.sin(2.3 * y - 3 * x)
    normal = blend * neck_n + (1 - blend) * chest_n
    normal[0] = normal[0] + folds * (1 - blend)
    normal = normal * torch.rsqrt((normal * normal).sum(0).clamp(min=1e-8))

    rgb, gloss = _clothe(p, s, x, y, z, is_neck, outside)
    towards = lights(view, turn)
    shadow, openness = _under_the_head(x, y, z, towards.lamp)
    openness = openness * (1 - 0.25 * smoothstep(outside, 0.3, 0.0) * (~is_neck))
    canvas[:, *part][:, seen] = shade(s, normal, towards, openness, shadow, rgb, gloss)
    depth[part][seen] = t


def _clothe(
    p: Parameters,
    s: Parameters,
    x: torch.Tensor,
    y: torch.Tensor,
    z: torch.Tensor,
    is_neck: torch.Tensor,
    outside: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear RGB [3, n] and gloss [n] of points on the body, [n] each; see :func:`_draw_band`."""
    skin = torch.tensor(skin_colour(p), dtype=torch.float32)[:, None]
    skin = skin * torch.tensor([1.0, 0.94, 0.94])[:, None]
    cloth = torch.tensor(
        muted(s["clothes_hue"], s["clothes_saturation"], s["clothes_value"]), dtype=torch.float32
    )[:, None]
    if s["clothes_stripes"] > 0.55:
        cloth = cloth * (0.72 + 0.28 * smoothstep(torch.sin(11 * y), -0.2, 0.2))
    # Where cloth begins: a V, a collar that stands up round the neck, or a round neckline.
    if s["neckline"] == 1:
        cut = torch.maximum(0.9 * (x.abs() - 0.42 * (y + 2.15)), -z)
        edge = torch.minimum(outside - 0.10, cut)
    elif s["neckline"] == 2:
        edge = torch.where(is_neck, -1.32 - y, outside + 0.05)
    else:
        edge = outside - 0.12
    dressed = smoothstep(edge, -0.012, 0.012)
    seam = 1 - 0.35 * bell((edge / 0.035) ** 2)
    return (skin + dressed * (cloth - skin)) * seam, 0.15 * (1 - dressed)


def _under_the_head(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, light: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the lamp's and of the ambient light that the head lets through, [n] each.

    The head is taken as an ellipsoid and tested on the way from each point to the lamp.
    """
    radii = (0.62, 0.88, 0.70)
    qx, qy, qz = x / radii[0], y / radii[1], z / radii[2]
    lx, ly, lz = (float(light[i]) / radii[i] for i in range(3))
    norm = math.sqrt(lx * lx + ly * ly + lz * lz)
    lx, ly, lz = lx / norm, ly / norm, lz / norm
    ahead = -(qx * lx + qy * ly + qz * lz)
    miss = sqrt((qx * qx + qy * qy + qz * qz - ahead * ahead).clamp(min=1e-6))
    shadow = 1 - 0.9 * smoothstep(miss, 1.18, 0.85) * smoothstep(ahead, 0.0, 0.3)
    gap = sqrt(qx * qx + qy * qy + qz * qz)
    return shadow, 0.38 + 0.62 * smoothstep(gap, 0.95, 1.75)


def _meet_quadric(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | float) -> torch.Tensor:
    """First t with a t² + 2 b t + c = 0, ``FAR`` where there is none."""
    root = (b * b).sub_(a * c)
    missed = root <= 0
    return sqrt(root.clamp_(min=0)).add_(b).neg_().div_(a).masked_fill_(missed, FAR)


def _meet_chest(origin: Vector, direction: tuple[torch.Tensor, ...], radii: Vector) -> torch.Tensor:
    """Lengths of rays to the shoulders and what is below."""
    dx, dy, dz = direction
    far = torch.full_like(dx, FAR)
    ox, oy, oz = ((o - m) / r for o, m, r in zip(origin, _CHEST_CENTRE, radii, strict=True))
    ex, ey, ez = dx / radii[0], dy / radii[1], dz / radii[2]
    t_chest = _meet_quadric(
        ex * ex + ey * ey + ez * ez, ex * ox + ey * oy + ez * oz, ox * ox + oy * oy + oz * oz - 1
    )
    # Below the shoulders the chest goes straight down.
    t_trunk = _meet_quadric(ex * ex + ez * ez, ex * ox + ez * oz, ox * ox + oz * oz - 1)
    t_trunk = torch.where(origin[1] + t_trunk * dy < _CHEST_CENTRE[1], t_trunk, far)
    t_chest = torch.where(origin[1] + t_chest * dy < _CHEST_CENTRE[1], far, t_chest)
    return torch.minimum(t_chest, t_trunk)


def _meet_neck(origin: Vector, direction: tuple[torch.Tensor, ...], wide: float) -> torch.Tensor:
    """Lengths of rays to a neck, whose radius is ``wide`` at y = -0.9."""
    dx, dy, dz = direction
    nx, nz = origin[0], origin[2] + 0.14 - _LEAN * (origin[1] + 0.5)
    nr = wide - _FLARE * (origin[1] + 0.9)
    gx, gz, gr = dx, dz - _LEAN * dy, -_FLARE * dy
    t = _meet_quadric(
        gx * gx + gz * gz - gr * gr, gx * nx + gz * nz - gr * nr, nx * nx + nz * nz - nr * nr
    )
    y = origin[1] + t * dy
    return torch.where((y < -0.2) & (y > -2.4), t, torch.full_like(t, FAR))
