"""Ray marching of heads, their light and shadow."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from thesislib.synthetic.camera import SUPERSAMPLE, rays
from thesislib.synthetic.head import GRID, grid_directions, sample
from thesislib.synthetic.numerics import CHUNK, sqrt

_COARSE = 4  # one coarse ray for 4 x 4 fine ones finds where the fine ones start


def _march(radius, origin, direction, t, steps: int, least: float = 0.0):
    """March ``t`` towards the surface; returns it and the height that is left above it.

    ``least`` is the shortest step, in half head heights.
    """
    dx, dy, dz = direction
    outside, inside = t - 0.1, torch.full_like(t, 1e3)
    for step in range(steps + 1):
        x, y, z = ((t * d).add_(o) for o, d in zip(origin, (dx, dy, dz), strict=True))
        length = sqrt((x * x).add_(y * y).add_(z * z))
        height = length - sample(radius, x, y, z, length)[0]
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
    scale = SUPERSAMPLE
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
    origin, direction = rays(view, rows.ravel(), columns.ravel(), view["rotation"])
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
        for part in zip(row.split(CHUNK), column.split(CHUNK), t.split(CHUNK), strict=True)
    ]
    if not parts:
        return None
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _trace_fine(view: dict, radius, row, column, t) -> dict:
    """Where the rays of some pixels of the supersampled photo meet the head, from ``t`` on."""
    scale = SUPERSAMPLE
    origin, direction = rays(
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
    length = sqrt(x * x + y * y + z * z)
    index = row * (view["width"] * scale) + column
    return {"index": index, "t": t, "x": x, "y": y, "z": z, "length": length}


def _shadow(radius: torch.Tensor, light: np.ndarray) -> torch.Tensor:
    """Light that other parts of the head let through, [1, 1, n, n] in [0, 1], on a small grid."""
    n = GRID // 4
    direction = F.avg_pool2d(grid_directions()[None], 4)[0].reshape(3, -1)
    own = F.avg_pool2d(radius, 4).ravel()
    dark = torch.zeros_like(own)
    for step in (0.07, 0.12, 0.19, 0.28, 0.40, 0.55, 0.75):
        x, y, z = (own * 1.012 * direction[i] + step * float(light[i]) for i in range(3))
        length = sqrt(x * x + y * y + z * z)
        inside = sample(radius, x, y, z, length)[0] - length
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


def draw_head(view: dict, canvas, depth, radius, maps) -> None:
    hit = _trace_head(view, radius)
    if hit is None:
        return
    to_head = view["rotation"].T
    light = to_head @ view["light"]
    up = to_head @ np.array([0.0, 1.0, 0.0])
    eye = to_head @ np.array([0.0, 0.0, 1.0])
    shadow = _shadow(radius, light)
    canvas, depth = canvas.view(3, -1), depth.view(-1)
    parts = zip(*(hit[key].split(CHUNK) for key in ("x", "y", "z", "length")), strict=True)
    for index, point in zip(hit["index"].split(CHUNK), parts, strict=True):
        values = sample(maps, *point)
        lit = 0.12 + 0.88 * sample(shadow, *point)[0]
        normal = values[0:3] * torch.rsqrt((values[0:3] ** 2).sum(0).clamp(min=1e-6))
        colour = _lit(view, normal, light, up, eye, values[3], lit, values[4:7], values[7])
        canvas[:, index] = colour
    depth[hit["index"]] = hit["t"]
