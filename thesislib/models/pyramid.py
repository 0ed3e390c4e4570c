"""Face heads at strides 8 to 128, for faces of a dozen to some hundred pixels in one pass.

What goes beyond the thesis's grid: a cell is small where faces are, and every face is learned by
several places. The maps are joined from coarse to fine (feature pyramid, Lin et al. 2017, section
3); each place gives one box, one confidence and five landmarks, as in YuNet (Wu et al. 2023) and
SCRFD (Guo et al. 2022). The same heads see the photo at half and a quarter of its size too, where
large faces are of the sizes they know.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from thesislib.models.decode import Detections, kept

STRIDES = (8, 16, 32)
# Side in pixels of the face that a place of each stride expects: log sizes are relative to it.
SIZES = (18.0, 56.0, 180.0)
PARTS = (2, 4)  # the photo's half and quarter
# Taken off the confidence of their places, as logits: at a quarter, where a face fills the photo,
# animals and flowers that fill it look like faces.
DOUBTS = (0.0, 0.8)
POINTS = 5  # eyes, nose, corners of the mouth
# Where they lie in a face's box on average, from its centre, in shares of its sides: the medians
# over 8000 photos of FairFace.
MEAN_SHAPE = (
    (-0.225, -0.196),
    (0.225, -0.196),
    (0.0, 0.04),
    (-0.19, 0.228),
    (0.19, 0.228),
)
VALUES = 5 + 2 * POINTS  # a place's: box code, confidence logit, landmarks


class Places(NamedTuple):
    """The P places of all strides, fine to coarse, row by row; then those of the photo's half and
    quarter, without the finest."""

    centres: torch.Tensor  # float [P, 2], x and y in pixels
    strides: torch.Tensor  # float [P], pixels
    sizes: torch.Tensor  # float [P], pixels


def places(size: Sequence[int], device: torch.device | None = None) -> Places:
    """Places of photos of a size (height, width) in whole cells of the coarsest stride."""
    centres, strides, sizes = [], [], []
    levels = [(size, stride, side) for stride, side in zip(STRIDES, SIZES, strict=True)]
    for part in PARTS:
        of_part = [part * side for side in whole_cells([side // part for side in size])]
        levels += [
            (of_part, part * stride, part * side)
            for stride, side in zip(STRIDES[1:], SIZES[1:], strict=True)
        ]
    for (height, width), stride, side in levels:
        ys = (torch.arange(height // stride, device=device, dtype=torch.float32) + 0.5) * stride
        xs = (torch.arange(width // stride, device=device, dtype=torch.float32) + 0.5) * stride
        level = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1).flatten(0, 1)
        centres.append(level)
        strides.append(torch.full_like(level[:, 0], stride))
        sizes.append(torch.full_like(level[:, 0], side))
    return Places(torch.cat(centres), torch.cat(strides), torch.cat(sizes))


def decode_places(values: torch.Tensor, at: Places) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes and landmarks of places.

    Args:
        values: float [..., P, VALUES].
        at: the same P places.

    Returns:
        boxes float [..., P, 4] and landmarks float [..., P, 5, 2], pixels.
    """
    middle = at.centres + values[..., :2] * at.strides[:, None]
    size = at.sizes[:, None] * values[..., 2:4].clamp(-4, 4).exp()
    boxes = torch.cat([middle - size / 2, middle + size / 2], dim=-1)
    # Landmarks are told in the box: where a face's size is known, most of them are, too.
    points = values[..., 5:].unflatten(-1, (POINTS, 2))
    return boxes, middle[..., None, :] + points * size[..., None, :]


def decode_pyramid(
    values: torch.Tensor,
    size: tuple[int, int],
    score_threshold: float | torch.Tensor,
    nms_iou: float,
    max_detections: int,
) -> Detections:
    """Detections of a batch, with landmarks.

    Args:
        values: float [N, P, VALUES], of :class:`Pyramid`.
        size: height and width of the photos without padding, in pixels; boxes are cut there.
        score_threshold, nms_iou, max_detections: see :func:`thesislib.models.decode.decode`.
    """
    boxes, points = decode_places(values, places(whole_cells(size), values.device))
    scores = values[..., 4].sigmoid()
    found = kept(boxes, scores, size, score_threshold, nms_iou, max_detections)
    return found._replace(landmarks=points[found.photo, found.place])


def whole_cells(size: Sequence[int]) -> tuple[int, int]:
    """Height and width, each rounded up to whole cells of the coarsest stride."""
    # Of positive numbers: those of an exported graph are divided towards zero.
    rows, columns = ((side + STRIDES[-1] - 1) // STRIDES[-1] * STRIDES[-1] for side in size)
    return rows, columns


class Pyramid(nn.Module):
    """Neck and heads over a trunk's map of stride 4.

    Args:
        channels: of that map.
        width: channels of the pyramid's maps.
    """

    def __init__(self, channels: int = 32, width: int = 64) -> None:
        super().__init__()
        self.bottom_up = nn.ModuleList(
            nn.Sequential(
                _Conv(width if at else channels, width, 3, stride=2),
                *(_Residual(width) for _ in range(1 if at else 3)),
            )
            for at in range(len(STRIDES))
        )
        self.across = nn.ModuleList(_Conv(width, width, 1) for _ in STRIDES)
        self.out = _Conv(width, width, 3)  # one for all strides, as in RetinaNet
        self.heads = nn.ModuleList(_head(width) for _ in STRIDES)
        self.off: torch.Tensor
        off = F.pad(torch.tensor(DOUBTS)[:, None], (4, VALUES - 5))
        self.register_buffer("off", off, persistent=False)

    def forward(self, x: torch.Tensor, half: torch.Tensor, quarter: torch.Tensor) -> torch.Tensor:
        """Map [N, channels, H / 4, W / 4] of the photo, and those of its ``PARTS``, to values
        [N, P, VALUES]."""
        most = STRIDES[-1] // 4
        values = self._levels(x)
        for part, off in zip((half, quarter), self.off, strict=True):
            rows, columns = (-side % most for side in part.shape[-2:])
            of_part = self._levels(F.pad(part, (0, columns, 0, rows)))
            values += [level - off for level in of_part[1:]]
        return torch.cat(values, dim=1)

    def _levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for level in self.bottom_up:
            x = level(x)
            maps.append(x)
        joined: torch.Tensor | None = None
        values = []
        for at in reversed(range(len(maps))):
            own = self.across[at](maps[at])
            if joined is not None:
                own = own + F.interpolate(joined, scale_factor=2.0, mode="nearest")
            joined = self.out(own)
            values.append(self.heads[at](joined).flatten(2).transpose(1, 2))
        return values[::-1]


def _head(width: int) -> nn.Conv2d:
    head = nn.Conv2d(width, VALUES, 1)
    nn.init.normal_(head.weight, std=0.01)
    bias = torch.zeros(VALUES)
    bias[4] = -4.6  # faces are rare among places (focal loss, Lin et al. 2017, section 3.3)
    bias[5:] = torch.tensor(MEAN_SHAPE).flatten()
    head.bias = nn.Parameter(bias)
    return head


class _Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _Conv(width, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)
