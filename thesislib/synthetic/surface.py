"""The surface of a head: all that rays are marched to and shaded with, as maps on the head's grid.

Shape, complexion and hair of a session are computed once for the whole grid; of each shot only
that part of the grid is computed anew which an expression can change.
"""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F

from thesislib.synthetic.complexion import bare_skin, beard_cover, over, paint
from thesislib.synthetic.hair import Hair, grow_hair
from thesislib.synthetic.head import GRID, Layout, grid_directions, skin_radius
from thesislib.synthetic.parameters import Parameters, identity_parameters, session_parameters

# Part of the grid that an expression changes: from under the chin to above the brows. What it
# would change beyond, a cheek by 0.02 in the broadest smile, is left out.
FACE_ROWS = slice(round(GRID * 0.12), round(GRID * 0.68))
FACE_COLUMNS = slice(round(GRID * 0.30), round(GRID * 0.70))
# Cells computed round that part, so that slopes fit at its edge. Openness, which looks 20 cells
# round, is off by up to 0.16 there.
MARGIN = 8
BEARD_HEIGHT = 0.07  # of the fullest beard, above the skin


class Surface(NamedTuple):
    """A head with its hair, on the grid of directions.

    Attributes:
        radius: distance from the head's centre, [1, 1, GRID, GRID], in half head heights.
        maps: [1, 8, GRID, GRID]: unit outward normal (3), openness to ambient light, linear RGB
            (3) and gloss.
    """

    radius: torch.Tensor
    maps: torch.Tensor


def head_surface(identity: int, session: int, seed: int, e: Parameters) -> Surface:
    """The surface of a person's head in a session, with the expression of a shot.

    Args:
        identity, session, seed: whose, when, and of which dataset.
        e: parameters of the shot.
    """
    p = identity_parameters(identity, seed)
    beard = session_parameters(identity, session, seed)["beard"]
    neutral, hair = _neutral(identity, session, seed)
    rows = slice(FACE_ROWS.start - MARGIN, FACE_ROWS.stop + MARGIN)
    columns = slice(FACE_COLUMNS.start - MARGIN, FACE_COLUMNS.stop + MARGIN)
    direction = grid_directions()[:, rows, columns]
    f = Layout(direction, p, e)
    skin = bare_skin(identity, seed)
    hair = Hair(*(of_grid[..., rows, columns] for of_grid in hair))
    radius = skin_radius(f) + skin.relief[rows, columns]
    part = _assemble(f, direction, radius, skin.rgb[:, rows, columns], beard, hair)
    inner = slice(MARGIN, -MARGIN)
    radius, maps = neutral.radius.clone(), neutral.maps.clone()
    radius[..., FACE_ROWS, FACE_COLUMNS] = part.radius[..., inner, inner]
    maps[..., FACE_ROWS, FACE_COLUMNS] = part.maps[..., inner, inner]
    return Surface(radius, maps)


@functools.lru_cache(maxsize=2)
def _neutral(identity: int, session: int, seed: int) -> tuple[Surface, Hair]:
    """The head without an expression, and the hair on it."""
    f = Layout(grid_directions(), identity_parameters(identity, seed), None)
    radius = skin_radius(f)
    hair = grow_hair(identity, session, seed, f, radius)
    beard = session_parameters(identity, session, seed)["beard"]
    skin = bare_skin(identity, seed)
    radius = radius + skin.relief
    return _assemble(f, grid_directions(), radius, skin.rgb, beard, hair), hair


def _assemble(
    f: Layout,
    direction: torch.Tensor,
    radius: torch.Tensor,
    skin: torch.Tensor,
    beard: float,
    hair: Hair,
) -> Surface:
    """Surface of a part of the grid from what is known of it.

    ``radius`` and ``skin`` (linear RGB) are the bare skin's, ``beard`` is its growth.
    """
    cover = beard_cover(f, beard)
    rgb, gloss = paint(f, skin, cover)
    radius = radius + hair.height
    if cover is not None:
        radius = radius + BEARD_HEIGHT * (cover - 0.4).clamp(min=0) * (f.mouth_within < 0.01)
    rgb = over(rgb, hair.rgb, hair.cover)
    gloss = gloss + hair.cover * (0.22 - gloss)
    maps = torch.cat([normals(direction, radius), openness(radius)[None], rgb, gloss[None]])
    return Surface(radius[None, None], maps[None])


def normals(direction: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Unit outward normals, [3, rows, columns], of the surface on a part of the grid.

    Args:
        direction: unit directions of the cells, [3, rows, columns].
        radius: of the surface there, [rows, columns].
    """
    point = radius * direction
    along_v = torch.empty_like(point)
    along_u = torch.empty_like(point)
    along_v[:, 1:-1] = point[:, 2:] - point[:, :-2]
    along_v[:, 0], along_v[:, -1] = along_v[:, 1], along_v[:, -2]
    along_u[:, :, 1:-1] = point[:, :, 2:] - point[:, :, :-2]
    along_u[:, :, 0], along_u[:, :, -1] = along_u[:, :, 1], along_u[:, :, -2]
    normal = torch.linalg.cross(along_u, along_v, dim=0)
    return normal * torch.rsqrt((normal * normal).sum(0).clamp(min=1e-12))


def openness(radius: torch.Tensor) -> torch.Tensor:
    """Share of the ambient light that reaches each cell of ``radius``, [rows, columns].

    In hollows, where the surface is lower than round about, it is below 1.
    """
    rows, columns = radius.shape
    small = F.avg_pool2d(radius[None, None], 4, ceil_mode=True, count_include_pad=False)
    for _ in range(2):
        small = F.avg_pool2d(small, 5, 1, 2, count_include_pad=False)
    around = F.interpolate(small, size=(rows, columns), mode="bilinear", align_corners=False)[0, 0]
    return (1 - 7.5 * (around - radius)).clamp(0.35, 1.08)
