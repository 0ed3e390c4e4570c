"""Anchors: typical face sizes, and the code between boxes and what a cell of the grid predicts.

This is the only place where boxes are not [x1, y1, x2, y2] pixels. The code is that of
single-shot detectors (SSD, Liu et al. 2016, section 2.2; anchors by clustering as YOLO9000,
Redmon & Farhadi 2017, section 2): offsets of the centre in cells, log size against the anchor's.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
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


def cell_centres(grid: tuple[int, int], cell: int, device=None) -> torch.Tensor:
    """Centres of the cells in pixels, float32 [rows, columns, 2] as (x, y)."""
    ys = (torch.arange(grid[0], device=device, dtype=torch.float32) + 0.5) * cell
    xs = (torch.arange(grid[1], device=device, dtype=torch.float32) + 0.5) * cell
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)


def anchor_boxes(anchors: torch.Tensor, grid: tuple[int, int], cell: int) -> torch.Tensor:
    """The anchors as boxes in pixels, float32 [A, rows, columns, 4]."""
    centres = cell_centres(grid, cell, anchors.device)[None]
    half = anchors[:, None, None, :] / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def encode(boxes: torch.Tensor, centres: torch.Tensor, anchors: torch.Tensor, cell: int):
    """What a cell should predict for a box.

    Args:
        boxes: float [..., 4] pixels.
        centres: float [..., 2], the cells' centres in pixels.
        anchors: float [..., 2] pixels.
        cell: side of a cell in pixels.

    Returns:
        float [..., 4]: offsets of the centre in cells, log of width and height over the anchor's.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return torch.cat([(middle - centres) / cell, torch.log(size / anchors)], dim=-1)


def decode(codes: torch.Tensor, centres: torch.Tensor, anchors: torch.Tensor, cell: int):
    """Inverse of :func:`encode`; log sizes are held within a factor of 50 of the anchor's."""
    middle = centres + codes[..., :2] * cell
    limit = float(np.log(50.0))
    half = anchors * torch.exp(codes[..., 2:].clamp(-limit, limit)) / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def assign(
    boxes: torch.Tensor, anchors: torch.Tensor, grid: tuple[int, int], cell: int
) -> torch.Tensor:
    """Give each face the cell that holds its centre, and there the anchor most like it.

    Larger faces choose first. When an anchor of the cell is taken, the next best is used; a face
    finds none when more than A centres fall into one cell, the known limit of a coarse grid.

    Args:
        boxes: float [F, 4] pixels.
        anchors: float [A, 2] pixels.
        grid: rows and columns.
        cell: side of a cell in pixels.

    Returns:
        int64 [F, 3]: anchor, row, column; (-1, -1, -1) for a face without a place.
    """
    places = torch.full((len(boxes), 3), -1, dtype=torch.int64)
    if not len(boxes):
        return places
    boxes, anchors = boxes.detach().cpu(), anchors.detach().cpu()
    size = boxes[:, 2:] - boxes[:, :2]
    origin = torch.zeros(len(boxes), 2)
    likeness = box_iou(
        torch.cat([origin, size], dim=1), torch.cat([torch.zeros_like(anchors), anchors], dim=1)
    )
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    column = (middle[:, 0] / cell).long().clamp(0, grid[1] - 1)
    row = (middle[:, 1] / cell).long().clamp(0, grid[0] - 1)
    taken = set()
    for face in torch.argsort(size.prod(dim=1), descending=True, stable=True).tolist():
        for anchor in torch.argsort(likeness[face], descending=True, stable=True).tolist():
            place = (anchor, int(row[face]), int(column[face]))
            if place not in taken:
                taken.add(place)
                places[face] = torch.tensor(place)
                break
    return places
