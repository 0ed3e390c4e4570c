"""Neck, shoulders, clothes and glasses."""

import itertools
import math

import numpy as np
import torch

from thesislib.synthetic.camera import SUPERSAMPLE, rays
from thesislib.synthetic.head import glasses_plane
from thesislib.synthetic.numerics import CHUNK, _rotation, _step, bell, sqrt
from thesislib.synthetic.parameters import SKIN_SRGB, _ramp
from thesislib.synthetic.places import _hue
from thesislib.synthetic.renderer import _lit


def draw_body(view: dict, canvas: torch.Tensor, depth: torch.Tensor) -> None:
    """Neck and shoulders into ``canvas`` [3, H, W] and ``depth`` [H, W], both supersampled."""
    p, e = view["person"], view["shot"]
    scale = SUPERSAMPLE
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
    band = max(1, CHUNK // (right - left))
    for start in range(top, height, band):
        part = (slice(start, min(start + band, height)), slice(left, right))
        _draw_body_part(view, canvas, depth, turn, *part)


def _draw_body_part(view: dict, canvas, depth, turn, part_rows: slice, part_columns: slice) -> None:
    p, s = view["person"], view["session"]
    scale = SUPERSAMPLE
    rows, columns = torch.meshgrid(
        (torch.arange(part_rows.start, part_rows.stop, dtype=torch.float32) + 0.5) / scale,
        (torch.arange(part_columns.start, part_columns.stop, dtype=torch.float32) + 0.5) / scale,
        indexing="ij",
    )
    origin, (dx, dy, dz) = rays(view, rows, columns, turn)
    far = torch.full_like(dx, 1e3)

    def meet(a, b, c):
        root = (b * b).sub_(a * c)
        missed = root <= 0
        return sqrt(root.clamp_(min=0)).add_(b).neg_().div_(a).masked_fill_(missed, 1e3)

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

    skin = torch.tensor(_ramp(SKIN_SRGB, p["melanin"]), dtype=torch.float32)[:, None]
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
    seam = 1 - 0.35 * bell((edge / 0.035) ** 2)
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
    miss = sqrt((qx * qx + qy * qy + qz * qz - ahead * ahead).clamp(min=1e-6))
    shadow = 1 - 0.9 * _step(miss, 1.18, 0.85) * _step(ahead, 0.0, 0.3)
    gap = sqrt(qx * qx + qy * qy + qz * qz)
    openness = 0.38 + 0.62 * _step(gap, 0.95, 1.75)
    openness = openness * (1 - 0.25 * _step(outside, 0.3, 0.0) * (~is_neck))
    up = to_body @ np.array([0.0, 1.0, 0.0])
    eye = to_body @ np.array([0.0, 0.0, 1.0])
    colour = _lit(view, normal, light, up, eye, openness, shadow, rgb, gloss)
    canvas[:, part_rows, part_columns][:, seen] = colour
    region[seen] = t


def draw_glasses(view: dict, canvas, depth) -> None:
    """Rims in a plane before the eyes, arms in two planes back to the ears."""
    p, s, e = view["person"], view["session"], view["shot"]
    scale = SUPERSAMPLE
    height, width = depth.shape
    unit = view["focal"] / e["distance"] * scale
    cx, cy = view["centre"]
    soft = 0.6 / unit
    rim = s["glasses_rim"]
    plane = glasses_plane(p)
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
    origin, (dx, dy, dz) = rays(view, rows, columns, view["rotation"])
    region = depth[top:bottom, left:right]
    picture = canvas[:, top:bottom, left:right]
    tone = torch.full((3,), s["glasses_tone"] ** 2)
    # Rims.
    t = (plane - origin[2]) / dz
    x, y = origin[0] + t * dx, origin[1] + t * dy
    corner = s["glasses_round"] * half_h
    qx = (x.abs() - lens_x).abs() - half_w + corner
    qy = (y - lens_y).abs() - half_h + corner
    shape = sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2)
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
