"""From five landmarks to what a recogniser sees of a face, sampled from a feature map.

dlib cuts a face out of the photo so that its landmarks lie at fixed places of a chip of 150 x 150
pixels, and runs its recogniser on that. Here the photo went through the first stages once, and the
part of the map that the chip would have had there is sampled in its place (spatial transformer:
Jaderberg et al. 2015, section 3; the sampling is RoI align's with a rotation).
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

# Where eyes, nose and corners of the mouth lie in a chip of dlib, x and y in pixels: the medians
# over 1094 photos of FairFace.
REFERENCE = (
    (48.31, 46.79),
    (100.96, 46.07),
    (74.81, 76.1),
    (52.63, 100.27),
    (98.4, 99.24),
)
# And where dlib's own five landmarks lie there: see ``detector.dlib_points``.
DLIB_REFERENCE = (
    (110.96, 46.35),
    (89.61, 47.9),
    (37.06, 46.37),
    (58.41, 47.9),
    (74.01, 87.78),
)
PATCH = 35  # places a side of the map of stride 4 that dlib's recogniser has of a chip
# The sizes of the photo that faces are read from, in eighths of it. With steps of at most 1.5 a
# face has 0.84 to 1.26 pixels for one of the chip, and there embeddings from the map lie within an
# eighth of the squared spread from those of the chip; at 0.7 or 1.7 it is 0.3 of it.
EIGHTHS = (8, 6, 4, 3, 2)
PASSES = 2  # of the refiner: the second sees what the first has put nearly right
_NATIVE = 1.03  # pixels for one of the chip, at which the recogniser reads best
_CHIP_SHARE = 15.0  # pixels of the chip that the refiner tells as 1
_FIRST, _STRIDE = 5, 4  # place i of them is pixel 5 + 4 i of the chip


def chip_transforms(
    landmarks: torch.Tensor, reference: Sequence[tuple[float, float]] = REFERENCE
) -> torch.Tensor:
    """Similarity transforms from chip to photo that fit the landmarks best (least squares).

    Args:
        landmarks: float [F, 5, 2], pixels of the photo.
        reference: where they lie in a chip, pixels.

    Returns:
        float [F, 2, 3]: (x, y, 1) of the chip to (x, y) of the photo. Without reflection (Umeyama
        1991, in the closed form of two dimensions).
    """
    chip = torch.tensor(reference, dtype=landmarks.dtype, device=landmarks.device)
    middle = chip.mean(dim=0)
    source, centre = chip - middle, landmarks.mean(dim=1)
    wanted = landmarks - centre[:, None]
    size = source.square().sum()
    along = (source * wanted).sum(dim=(1, 2)) / size
    turned = (source[:, 0] * wanted[..., 1] - source[:, 1] * wanted[..., 0]).sum(dim=1) / size
    x = centre[:, 0] - along * middle[0] + turned * middle[1]
    y = centre[:, 1] - turned * middle[0] - along * middle[1]
    rows = [torch.stack([along, -turned, x], dim=1), torch.stack([turned, along, y], dim=1)]
    return torch.stack(rows, dim=1)


def chip_scales(landmarks: torch.Tensor) -> torch.Tensor:
    """Pixels of the photo for one of the chip, float [F], of landmarks float [F, 5, 2]."""
    return chip_transforms(landmarks)[:, :, 0].norm(dim=1)


def shrunken(photos: torch.Tensor) -> list[torch.Tensor]:
    """Photos float [N, C, H, W], H and W in whole times 32, at each of the sizes ``EIGHTHS``."""
    three_quarters = [side * 3 // 4 for side in photos.shape[-2:]]
    smaller = F.interpolate(photos, three_quarters, mode="bilinear", align_corners=False)
    half = F.avg_pool2d(photos, 2)
    return [photos, smaller, half, F.avg_pool2d(smaller, 2), F.avg_pool2d(half, 2)]


def stacked(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps of a photo at several sizes, one below the other in one.

    Args:
        maps: float [N, C, h, w] of each size in ``EIGHTHS``, in their order.

    Returns:
        float [N, C, R, W / 4]: each map is followed by a row of zeros and filled up with zeros on
        the right, so that what is sampled beyond a map's edge is zero.
    """
    width = maps[0].shape[-1]
    return torch.cat([F.pad(one, (0, width - one.shape[-1], 0, 1)) for one in maps], dim=2)


def stacked_size(features: torch.Tensor) -> tuple[int, int]:
    """Height and width in pixels of the photos of which a map is :func:`stacked`."""
    rows = (features.shape[-2] - len(EIGHTHS)) // sum(EIGHTHS) * EIGHTHS[0]
    return _STRIDE * rows, _STRIDE * features.shape[-1]


def sample_patches(
    features: torch.Tensor, photo: torch.Tensor, landmarks: torch.Tensor
) -> torch.Tensor:
    """What the chips of faces would have at stride 4.

    A face is read from the map in which it has about the size that the recogniser knows (as the
    levels of a pyramid share RoIs by size: Lin et al. 2017, equation 1).

    Args:
        features: float [N, C, R, w], :func:`stacked` maps of stride 4, of which place (r, c) is
            pixel (4 r, 4 c).
        photo: int64 [F], the photo of each face.
        landmarks: float [F, 5, 2], pixels of the photo, counted from its corner.

    Returns:
        float [F, C, PATCH, PATCH].
    """
    steps = _FIRST + _STRIDE * torch.arange(PATCH, device=features.device, dtype=features.dtype)
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    # Half a pixel of the chip before those of the teacher, whose pixels lie at i + 0.5: the
    # published net has learned it so, and is as near to the teacher (0.2285 and 0.2290) either way.
    chip = torch.stack([xs, ys], dim=-1).flatten(0, 1)  # [PATCH x PATCH, 2]
    transforms = chip_transforms(landmarks).to(features.dtype)
    points = _placed(chip, transforms)
    band = _bands(transforms[:, :, 0].norm(dim=1))
    eighths = torch.tensor(EIGHTHS, device=features.device, dtype=features.dtype)
    above = torch.cat([eighths.new_zeros(1), eighths.cumsum(dim=0)])[band]
    # Maps above have that many eighths of the first one's rows, and a row of zeros each.
    eighth = stacked_size(features)[0] // (_STRIDE * EIGHTHS[0])
    top = above * eighth + band + photo * features.shape[-2]
    share = eighths[band] / EIGHTHS[0]
    # Place c is the middle of pixel 4 c, which is 4 c + 0.5 from the photo's edge.
    x, y = ((points * share[:, None, None] - 0.5) / _STRIDE).unbind(dim=2)
    rows = (eighths[band] * eighth)[:, None]
    y = torch.minimum(y.clamp(min=-1), rows) + top[:, None]  # beyond the map it is the row of zeros
    # The photos, too, lie one below the other: no map is copied for a face. With channels last, as
    # convolutions leave them, it is a view.
    rows_of_all = features.permute(0, 2, 3, 1).flatten(0, 1)[None]
    below = rows_of_all.permute(0, 3, 1, 2)
    extent = torch.tensor(below.shape[:1:-1], device=features.device, dtype=features.dtype)
    # grid_sample's edge is half a place before the first.
    grid = (torch.stack([x, y], dim=2) + 0.5) / extent * 2 - 1
    grid = grid.reshape(1, -1, PATCH, 2)
    found = F.grid_sample(below, grid, padding_mode="zeros", align_corners=False)
    return found[0].unflatten(1, (-1, PATCH)).transpose(0, 1)


def _placed(points: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
    """Points of chips in the photo, float [F, P, 2].

    Not a matrix product: in mixed precision its coordinates would have three digits.

    Args:
        points: float [P, 2] of all chips, or [F, P, 2] of each.
        transforms: float [F, 2, 3].
    """
    x, y, shift = (column[:, None] for column in transforms.unbind(dim=2))  # [F, 1, 2]
    return points[..., :1] * x + points[..., 1:] * y + shift


def _bands(scales: torch.Tensor) -> torch.Tensor:
    """Of faces at float [F] pixels for one of the chip, the size of ``EIGHTHS`` to read each from:
    where it is nearest to ``_NATIVE``, by the quotient. int64 [F]."""
    limits = [
        EIGHTHS[0] * _NATIVE / (finer * coarser) ** 0.5
        for finer, coarser in itertools.pairwise(EIGHTHS)
    ]
    return (scales[:, None] > scales.new_tensor(limits)).sum(dim=1)


class Refiner(nn.Module):
    """Landmarks told once more, from the chip that the first ones cut out (a cascade: Sun et al.
    2013, in one network: MTCNN, Zhang et al. 2016).

    The heads tell landmarks of faces of every size and turn from one place of a map. In a chip the
    face is upright and of one size, and what is left is small.

    Args:
        channels: of the map that is sampled.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 24, 1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 8, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.points = nn.Linear(8 * 9 * 9, 10)
        nn.init.zeros_(self.points.weight)  # begins with the landmarks as they are on average
        nn.init.zeros_(self.points.bias)

    def forward(
        self, features: torch.Tensor, photo: torch.Tensor, landmarks: torch.Tensor
    ) -> torch.Tensor:
        """Landmarks float [F, 5, 2], as for :func:`sample_patches`, to better ones."""
        patches = sample_patches(features, photo, landmarks)
        moved = self.points(self.layers(patches)).float().unflatten(1, (5, 2))
        chip = torch.tensor(REFERENCE, device=moved.device) + _CHIP_SHARE * moved
        transforms = chip_transforms(landmarks.float())
        return _placed(chip, transforms)
