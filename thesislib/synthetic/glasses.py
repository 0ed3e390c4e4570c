"""Glasses: two rims in a plane before the eyes, and arms in two planes back to the ears.

Each of the three planes is met by rays in closed form; what is near enough to a line in it is
covered with the frame's colour, softly at its edges. Lengths are in half head heights.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch

from thesislib.synthetic.camera import SUPERSAMPLE, Rays, View, pixel_centres, rays
from thesislib.synthetic.head import Layout, directions_at, skin_radius
from thesislib.synthetic.numerics import smoothstep, sqrt
from thesislib.synthetic.parameters import Parameters


def glasses_plane(p: Parameters) -> float:
    """How far before the head's centre glasses sit: on the nose, and clear of the lashes."""
    places = torch.tensor([0.0, p["eye_spacing"]]), torch.tensor([p["eye_y"] - 0.02, p["eye_y"]])
    direction = directions_at(*places, p)
    nose, eye = (skin_radius(Layout(direction, p, None)) * direction)[2].tolist()
    return max(nose - 0.015, eye + 0.075)


class _Frame(NamedTuple):
    """Measures of glasses in the head's frame."""

    plane: float  # z of the rims
    half_width: float  # of a lens
    half_height: float
    corner: float  # radius of a lens's corners
    rim: float  # half the thickness of rims and arms
    lens_x: float  # middle of a lens, to either side
    lens_y: float
    hinge: float  # abs(x) of the arms at the rims
    ear: float  # abs(x) of the arms at the ears


def _frame(p: Parameters, s: Parameters) -> _Frame:
    half_width, half_height = 0.190 * s["glasses_size"], 0.145 * s["glasses_size"]
    lens_x, lens_y = max(p["eye_spacing"], half_width + 0.07), p["eye_y"] - 0.01
    return _Frame(
        plane=glasses_plane(p),
        half_width=half_width,
        half_height=half_height,
        corner=s["glasses_round"] * half_height,
        rim=s["glasses_rim"],
        lens_x=lens_x,
        lens_y=lens_y,
        hinge=lens_x + half_width,
        ear=p["head_width"] + 0.045,
    )


def draw_glasses(view: View, canvas: torch.Tensor, depth: torch.Tensor) -> None:
    """Draw glasses over a supersampled canvas where nothing nearer is.

    Args:
        view: the person before the camera.
        canvas: linear RGB [3, H, W], changed in place.
        depth: length of the ray to what is drawn already, [H, W].
    """
    frame = _frame(view.person, view.session)
    soft = 0.6 / (view.nearness * SUPERSAMPLE)  # width of a line's edge
    part = _part_of_photo(view, frame, soft, depth.shape)
    if part is None:
        return
    rows, columns = part
    through = rays(view, *pixel_centres(rows, columns), view.pose.rotation)
    region = depth[slice(*rows), slice(*columns)]
    picture = canvas[:, slice(*rows), slice(*columns)]
    tone = torch.full((3, 1, 1), view.session["glasses_tone"] ** 2)
    cover, lost = _rims(frame, through, region, soft)
    picture.mul_(1 - lost)
    picture.add_(cover * (tone - picture))
    for side in (-1.0, 1.0):
        cover = _arm(frame, through, region, soft, side)
        picture.add_(cover * (tone - picture))


def _part_of_photo(
    view: View, frame: _Frame, soft: float, shape: torch.Size
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns of the supersampled photo that can show the box round rims and arms."""
    unit = view.nearness * SUPERSAMPLE
    cx, cy = view.centre
    focal, distance = view.pose.focal, view.shot["distance"]
    air = frame.rim + 2 * soft
    side = max(frame.hinge, frame.ear) + air
    corners = itertools.product(
        (-side, side),
        (frame.lens_y - frame.half_height - air, frame.lens_y + frame.half_height + air),
        (-0.05, frame.plane),
    )
    x, y, z = view.pose.rotation @ np.array(list(corners)).T
    enlarged = focal * SUPERSAMPLE / (distance - z)
    x, y = cx * SUPERSAMPLE + enlarged * x, cy * SUPERSAMPLE - enlarged * y

    def within(low: float, high: float, middle: float, reach: float, end: int) -> tuple[int, int]:
        """Whole pixels of a range, at most ``reach`` from ``middle`` and inside the photo."""
        first, last = np.clip([low - 2, high + 2], middle - reach, middle + reach).clip(0, end)
        return int(first), int(last)

    rows = within(y.min(), y.max(), cy * SUPERSAMPLE, 0.85 * unit, shape[0])
    columns = within(x.min(), x.max(), cx * SUPERSAMPLE, 1.15 * unit, shape[1])
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    return rows, columns


def _rims(
    frame: _Frame, through: Rays, region: torch.Tensor, soft: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of each pixel that rims and bridge cover, and of its light that is lost in a lens.

    Both [rows, columns]; ``region`` is the depth there.
    """
    (ox, oy, oz), (dx, dy, dz) = through
    t = (frame.plane - oz) / dz
    x, y = ox + t * dx, oy + t * dy
    # Signed distance to a lens: a rectangle with rounded corners.
    qx = (x.abs() - frame.lens_x).abs() - frame.half_width + frame.corner
    qy = (y - frame.lens_y).abs() - frame.half_height + frame.corner
    shape = sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2)
    shape = shape + torch.maximum(qx, qy).clamp(max=0) - frame.corner
    between = x.abs() - (frame.lens_x - frame.half_width)
    bridge = torch.maximum((y - frame.lens_y - 0.035).abs(), between)
    line = torch.minimum(shape.abs(), bridge.clamp(min=0)) - frame.rim
    ahead = smoothstep(region - t, -0.02, 0.02)
    return smoothstep(line, soft, -soft) * ahead, 0.08 * smoothstep(shape, soft, -soft) * ahead


def _arm(
    frame: _Frame, through: Rays, region: torch.Tensor, soft: float, side: float
) -> torch.Tensor:
    """Share of each pixel that the arm on a side (-1 or 1) covers, [rows, columns]."""
    (ox, oy, oz), (dx, dy, dz) = through
    slope = (frame.ear - frame.hinge) / (frame.plane + 0.05)
    # Its plane: side * x = hinge + slope * (plane - z).
    towards = side * dx + slope * dz
    t = (frame.hinge + slope * (frame.plane - oz) - side * ox) / towards
    y, z = oy + t * dy, oz + t * dz
    line = torch.maximum(
        (y - frame.lens_y - 0.04).abs() - frame.rim, (z - frame.plane).clamp(min=0)
    )
    cover = smoothstep(line, soft, -soft) * (z > -0.05) * smoothstep(region - t, -0.02, 0.02)
    return cover * (t > 0) * (towards.abs() > 0.02)
