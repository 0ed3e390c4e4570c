"""How a camera that was held turned stores its photos."""

import numpy as np

# EXIF 2.32, tag 0x0112: what the stored rows and columns are of the upright photo, so how the
# upright one is stored.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def turned(upright, box, orientation):
    """How a photo with a white box on black is stored, and the box in pixels of what is stored.

    Args:
        upright: width and height of the photo as it is seen.
        box: x1, y1, x2, y2, whole pixels of it.
        orientation: EXIF's.
    """
    photo = np.zeros(upright[::-1], np.uint8)
    x1, y1, x2, y2 = map(int, box)
    photo[y1:y2, x1:x2] = 255
    stored = np.ascontiguousarray(STORED[orientation](photo))
    rows, columns = np.nonzero(stored)
    return stored, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
