"""A face as dlib's recogniser sees it: upright and of one size, by dlib's five landmarks."""

import numpy as np
import torch
from PIL import Image

from thesislib.data.detector import dlib_points
from thesislib.data.transforms import warped
from thesislib.models.chips import DLIB_REFERENCE, chip_transforms
from thesislib.models.dlib_resnet import CHIP_PX


def aligned_faces(photo: np.ndarray, boxes: np.ndarray, size: int = CHIP_PX) -> torch.Tensor:
    """Faces of a photo cut out as dlib cuts them, turned and scaled.

    Args:
        photo: uint8 [H, W, 3] RGB.
        boxes: float [D, 4] pixels, framed as dlib's detector frames a face.
        size: side of a cut-out face in pixels.

    Returns:
        uint8 [D, 3, size, size].

    Raises:
        MissingExtraError: dlib or its file of landmarks is not installed.
    """
    if not len(boxes):
        return torch.empty((0, 3, size, size), dtype=torch.uint8)
    points = torch.from_numpy(np.stack([dlib_points(photo, box) for box in boxes]))
    transforms = chip_transforms(points, DLIB_REFERENCE).numpy()
    transforms[:, :, :2] *= CHIP_PX / size
    image = Image.fromarray(photo)
    chips = np.stack([np.asarray(warped(image, one, size)) for one in transforms])
    return torch.from_numpy(chips).permute(0, 3, 1, 2)
