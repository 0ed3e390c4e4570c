"""Why a face should not be enrolled: what else would be like it are other poor photos.

The limits are rules of thumb, chosen with photos of `lfw` that were made smaller, blurred and
darker; what size costs is measured by ``python -m thesislib face-sizes``.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from thesislib.faces import Face, yaw_of

DOUBTS = ("small", "dark", "blurred", "turned away")
LEAST_PX = 32  # side of a face, in the photo as it is read
LEAST_GREY = 20  # mean of the face, of 255
LEAST_SHARPNESS = 0.12  # see sharpness
MOST_YAW = 50  # degrees
_SIDE = 64  # pixels, at which faces are compared in sharpness


def doubts(photo: np.ndarray, face: Face, read_px: int | None = None) -> list[str]:
    """What speaks against enrolling somebody by a face.

    Args:
        photo: uint8 [H, W, 3] RGB.
        face: found in it.
        read_px: shorter side at which a net reads photos at most; None for as they are. Of a
            larger photo a face is as small as the net sees it.

    Returns:
        any of :data:`DOUBTS`, the last where it has landmarks.
    """
    x1, y1, x2, y2 = np.clip(face.box, 0, [photo.shape[1], photo.shape[0]] * 2)
    found = []
    seen = 1.0 if read_px is None else min(1.0, read_px / min(photo.shape[:2]))
    if seen * np.sqrt((x2 - x1) * (y2 - y1)) < LEAST_PX:
        found.append("small")
    grey = Image.fromarray(photo).crop(tuple(np.rint([x1, y1, x2, y2]).astype(int))).convert("L")
    if 0 in grey.size:
        return found
    if np.asarray(grey, float).mean() < LEAST_GREY:
        found.append("dark")
    if sharpness(grey) < LEAST_SHARPNESS:
        found.append("blurred")
    if face.landmarks is not None and abs(float(yaw_of(face.landmarks[None])[0])) > MOST_YAW:
        found.append("turned away")
    return found


def told(poor: Sequence[str]) -> str:
    """Doubts as a sentence; "" where there are none.

    >>> told(["small", "dark", "blurred"])
    'the face is small, dark and blurred'
    """
    *most, last = poor or [""]
    words = f"{', '.join(most)} and {last}" if most else last
    return f"the face is {words}" if words else ""


def sharpness(face: Image.Image) -> float:
    """How much of a face changes from pixel to pixel, whatever its contrast. A smaller face has
    less detail to lose, and is told apart by its size.

    Args:
        face: grey picture, cut out.

    Returns:
        the standard deviation of its Laplacian at 64 x 64 pixels, in standard deviations of its
        grey; 0 of an even picture.
    """
    grey = np.asarray(face.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), float)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    spread = float(grey.std())
    return float((4 * inner - around).std()) / spread if spread > 0 else 0.0
