"""Anchors: typical face sizes, and the regression targets of boxes relative to cells and anchors.

This is the only place where boxes are not [x1, y1, x2, y2] pixels. The targets are those of
single-shot detectors (SSD, Liu et al. 2016, section 2.2; anchors by clustering as YOLO9000,
Redmon & Farhadi 2017, section 2): offsets of the centre in cells, log size against the anchor's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torchvision.ops import box_iou


def fit_anchors(sizes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Typical box sizes by k-means over log width and log height.

    Args:
        sizes: float [F, 2], width and height of the training boxes in pixels of the network's
            input.
        count: number of anchors A.
        seed: of the run.

    Returns:
        float32 [A, 2], width and height in pixels, smallest area first.

    Raises:
        ValueError: fewer boxes than anchors, or a size that is not positive.
    """
    from sklearn.cluster import KMeans  # here: a net that only answers opens a second sooner

    sizes = np.asarray(sizes, dtype=np.float64)
    if len(sizes) < count:
        raise ValueError(f"{len(sizes)} training boxes are too few for {count} anchors")
    if not (sizes > 0).all():
        raise ValueError("anchor sizes: every width and height must be positive")
    logs = np.log(sizes)
    # Boxes that are all alike give fewer clusters than asked for; a hair of spread keeps them.
    distinct = len(np.unique(logs, axis=0))
    if distinct < count:
        logs = logs + np.linspace(-0.05, 0.05, len(logs))[:, None]
    means = KMeans(count, n_init=10, random_state=seed).fit(logs).cluster_centers_
    anchors = np.exp(means).astype(np.float32)
    return anchors[np.argsort(anchors.prod(axis=1))]


def cell_centres(
    grid: Sequence[int], cell: int, device: torch.device | None = None
) -> torch.Tensor:
    """Centres of the cells in pixels, float32 [rows, columns, 2] as (x, y)."""
    ys = (torch.arange(grid[0], device=device, dtype=torch.float32) + 0.5) * cell
    xs = (torch.arange(grid[1], device=device, dtype=torch.float32) + 0.5) * cell
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)


def anchor_boxes(anchors: torch.Tensor, grid: Sequence[int], cell: int) -> torch.Tensor:
    """The anchors as boxes in pixels, float32 [A, rows, columns, 4]."""
    centres = cell_centres(grid, cell, anchors.device)[None]
    half = anchors[:, None, None, :] / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def encode_boxes(
    boxes: torch.Tensor, centres: torch.Tensor, anchors: torch.Tensor, cell: int
) -> torch.Tensor:
    """Regression targets of boxes relative to cell and anchor.

    Args:
        boxes: float [..., 4] pixels.
        centres: float [..., 2], the cells' centres in pixels.
        anchors: float [..., 2], width and height in pixels.
        cell: side of a cell in pixels.

    Returns:
        float [..., 4]: offset of the box's centre from the cell's in cells, x and y, and the
        logarithm of width and height over the anchor's.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return torch.cat([(middle - centres) / cell, torch.log(size / anchors)], dim=-1)


def decode_boxes(
    codes: torch.Tensor, centres: torch.Tensor, anchors: torch.Tensor, cell: int
) -> torch.Tensor:
    """Inverse of :func:`encode_boxes`; log sizes are held within a factor of 50 of the anchor's."""
    middle = centres + codes[..., :2] * cell
    limit = float(np.log(50.0))
    half = anchors * torch.exp(codes[..., 2:].clamp(-limit, limit)) / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def assign(
    boxes: torch.Tensor, anchors: torch.Tensor, grid: Sequence[int], cell: int
) -> torch.Tensor:
    """Assign each face to the cell that holds its centre and the anchor of highest shape IoU.

    The shape IoU of a box and an anchor is their IoU with centres aligned. Larger faces are
    assigned first; where an anchor of the cell is taken, the next best is used. A face is left
    without a place when more than A centres fall into one cell, the known limit of a coarse grid.

    Args:
        boxes: float [F, 4] pixels.
        anchors: float [A, 2] pixels.
        grid: rows and columns.
        cell: side of a cell in pixels.

    Returns:
        int64 [F] on the CPU: place (anchor x rows + row) x columns + column, or -1.
    """
    places = torch.full((len(boxes),), -1, dtype=torch.int64)
    if not len(boxes):
        return places
    boxes, anchors = boxes.detach().cpu(), anchors.detach().cpu()
    size = boxes[:, 2:] - boxes[:, :2]
    origin = torch.zeros(len(boxes), 2)
    shape_iou = box_iou(
        torch.cat([origin, size], dim=1), torch.cat([torch.zeros_like(anchors), anchors], dim=1)
    )
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    column = (middle[:, 0] / cell).long().clamp(0, grid[1] - 1)
    row = (middle[:, 1] / cell).long().clamp(0, grid[0] - 1)
    taken = set()
    for face in torch.argsort(size.prod(dim=1), descending=True, stable=True).tolist():
        for anchor in torch.argsort(shape_iou[face], descending=True, stable=True).tolist():
            place = (anchor * grid[0] + int(row[face])) * grid[1] + int(column[face])
            if place not in taken:
                taken.add(place)
                places[face] = place
                break
    return places
