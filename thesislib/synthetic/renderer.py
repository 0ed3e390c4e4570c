"""Drawing a head: rays marched to its surface, light and shadow on it.

The radius is read off the grid, so a ray steps along by a share of its height above the surface
(sphere tracing, with a shortened step as the height is measured along the radius) and bisects once
it has passed below. One coarse ray for a block of pixels finds where its fine rays start.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from thesislib.synthetic.camera import FAR, SUPERSAMPLE, Rays, View, rays
from thesislib.synthetic.head import GRID, grid_directions, sample
from thesislib.synthetic.numerics import CHUNK, sqrt
from thesislib.synthetic.parameters import Parameters
from thesislib.synthetic.surface import Surface

_COARSE = 4  # pixels along a side of a block, supersampled


class Hits(NamedTuple):
    """Where rays meet a head.

    Attributes:
        pixel: its index in the flattened supersampled photo, int64 [n].
        t: length of the ray, [n].
        x, y, z: the point in the head's frame, [n] each.
        length: its distance from the origin, [n].
    """

    pixel: torch.Tensor
    t: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    length: torch.Tensor


class Lights(NamedTuple):
    """Unit vectors, 3 numbers each, in the frame of what is lit.

    Attributes:
        lamp: towards the lamp.
        up: towards the sky.
        eye: towards the camera.
    """

    lamp: np.ndarray
    up: np.ndarray
    eye: np.ndarray


def lights(view: View, frame: np.ndarray) -> Lights:
    """The photo's lights in a frame; ``frame`` rotates it to the camera's, [3, 3]."""
    to = frame.T
    return Lights(to @ view.light, to @ np.array([0.0, 1.0, 0.0]), to @ np.array([0.0, 0.0, 1.0]))


def shade(
    s: Parameters,
    normal: torch.Tensor,
    towards: Lights,
    openness: torch.Tensor,
    shadow: torch.Tensor,
    rgb: torch.Tensor,
    gloss: torch.Tensor,
) -> torch.Tensor:
    """Colour of surface points under the lights of a session.

    Wrapped Lambert reflection of the lamp, an ambient term that is brighter from above, and
    Blinn-Phong specular reflection with exponent 16.

    Args:
        s: parameters of the session.
        normal: unit normals, [3, n].
        towards: the lights in the normals' frame.
        openness: share of the ambient light that reaches a point, [n].
        shadow: share of the lamp's light that does, [n].
        rgb: linear RGB of the surface, [3, n].
        gloss: its specular reflection, [n].

    Returns:
        Linear RGB, [3, n].
    """
    nx, ny, nz = normal
    light, up = towards.lamp, towards.up
    facing = nx * float(light[0]) + ny * float(light[1]) + nz * float(light[2])
    wrap = 0.18
    key = s["light_key"] * ((facing + wrap) / (1 + wrap)).clamp(min=0) * shadow
    sky = nx * float(up[0]) + ny * float(up[1]) + nz * float(up[2])
    ambient = s["light_ambient"] * (0.72 + 0.28 * sky) * openness
    half = light + towards.eye
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


def draw_head(view: View, canvas: torch.Tensor, depth: torch.Tensor, surface: Surface) -> None:
    """Draw a head over a supersampled canvas.

    Args:
        view: the person before the camera.
        canvas: linear RGB [3, H, W], changed in place.
        depth: length of the ray to what is drawn, [H, W], set where the head is.
        surface: of the head.
    """
    hits = trace_head(view, surface.radius)
    if hits is None:
        return
    towards = lights(view, view.pose.rotation)
    shadow = _shadow(surface.radius, towards.lamp)
    canvas, depth = canvas.view(3, -1), depth.view(-1)
    parts = zip(*(of_hits.split(CHUNK) for of_hits in hits), strict=True)
    for pixel, _, *point in parts:
        values = sample(surface.maps, *point)
        lit = 0.12 + 0.88 * sample(shadow, *point)[0]
        normal = values[0:3] * torch.rsqrt((values[0:3] ** 2).sum(0).clamp(min=1e-6))
        canvas[:, pixel] = shade(
            view.session, normal, towards, values[3], lit, values[4:7], values[7]
        )
    depth[hits.pixel] = hits.t


def trace_head(view: View, radius: torch.Tensor) -> Hits | None:
    """Where rays meet a head of ``radius`` [1, 1, GRID, GRID]; None if no ray does."""
    scale = SUPERSAMPLE
    focal, distance = view.pose.focal, view.shot["distance"]
    cx, cy = view.centre
    width, height = view.width * scale, view.height * scale
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
    along = rays(view, rows.ravel(), columns.ravel(), view.pose.rotation)
    t, above = _march(radius, along, torch.full((rows.numel(),), distance - reach), 22)
    # A coarse ray that passes close by still wakes its block: noses and strands are thin.
    close = above < 0.06
    t = torch.where(close, t, torch.full_like(t, FAR)).reshape(1, 1, rows_n, columns_n)
    t = -F.max_pool2d(-t, 3, 1, 1)[0, 0] - 0.05
    t = t.repeat_interleave(block, 0).repeat_interleave(block, 1)[: height - top, : width - left]
    live = (t < FAR / 2).nonzero()
    t = t[live[:, 0], live[:, 1]]
    row, column = live[:, 0] + top, live[:, 1] + left
    parts = [
        _trace_fine(view, radius, *part)
        for part in zip(row.split(CHUNK), column.split(CHUNK), t.split(CHUNK), strict=True)
    ]
    if not parts:
        return None
    return Hits(*(torch.cat(of_parts) for of_parts in zip(*parts, strict=True)))


def _trace_fine(
    view: View, radius: torch.Tensor, row: torch.Tensor, column: torch.Tensor, t: torch.Tensor
) -> Hits:
    """Where the rays of some pixels of the supersampled photo meet the head, from ``t`` on."""
    scale = SUPERSAMPLE
    along = rays(
        view, (row.float() + 0.5) / scale, (column.float() + 0.5) / scale, view.pose.rotation
    )
    t, above = _march(radius, along, t, 8)
    # Few rays graze the surface and need more steps, some to reach what lies behind it.
    slow = (above > 0.003).nonzero()[:, 0]
    origin, (dx, dy, dz) = along
    rest = origin, (dx[slow], dy[slow], dz[slow])
    t[slow], above[slow] = _march(radius, rest, t[slow], 26, least=0.02)
    hit = (above < 0.006).nonzero()[:, 0]
    t, row, column = t[hit], row[hit], column[hit]
    x, y, z = (o + t * d[hit] for o, d in zip(origin, (dx, dy, dz), strict=True))
    length = sqrt(x * x + y * y + z * z)
    return Hits(row * (view.width * scale) + column, t, x, y, z, length)


def _march(
    radius: torch.Tensor, along: Rays, t: torch.Tensor, steps: int, least: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """March rays towards the surface.

    Args:
        radius: of the surface, [1, 1, GRID, GRID].
        along: rays of [n] in the head's frame.
        t: where they start, as lengths along them, [n].
        steps: how many to take.
        least: the shortest step.

    Returns:
        Where they end, and the height that is left above the surface, 0 once it is met; [n] each.
    """
    origin, directions = along
    outside, inside = t - 0.1, torch.full_like(t, FAR)
    for step in range(steps + 1):
        x, y, z = ((t * d).add_(o) for o, d in zip(origin, directions, strict=True))
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
    met = inside < FAR - 1
    return torch.where(met, inside, t), torch.where(met, 0.0, height)


def _shadow(radius: torch.Tensor, light: np.ndarray) -> torch.Tensor:
    """Light that other parts of the head let through, [1, 1, n, n] in [0, 1], on a coarse grid.

    ``radius`` is the surface's, [1, 1, GRID, GRID], ``light`` points towards the lamp.
    """
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
