"""A dataset of couples: some people can be kept unseen, though photos show several of them."""

import numpy as np
import pandas as pd
from conftest import PARTY, face, noise
from PIL import Image

from thesislib.data.columns import BOX
from thesislib.data.detector import DETECTION_COLUMNS
from thesislib.data.schema import COLUMNS

NAMES = (*PARTY, "None", "True", "1e5", *(f"p{at:02d}" for at in range(10)))
SIZE = (64, 48)  # width and height of a photo in pixels


def write_couples(folder, names=NAMES, photos=2, sessions=2):
    """Every two names are a couple, whom photos show alone and together, in several sessions.

    Each session has so many photos of everybody alone, and one of each couple with a stranger.
    """
    (folder / "photos").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    shown = []
    for first in range(0, len(names), 2):
        for session in (f"{at:02d}" for at in range(1, sessions + 1)):
            couple = tuple(names[first : first + 2])
            shown += [(session, (name,)) for name in couple for _ in range(photos)]
            shown.append((session, (*couple, "")))
    for at, (session, people) in enumerate(shown):
        photo = f"photos/{at:03d}.png"
        pixels = noise(SIZE[1], SIZE[0], seed=at) // 3
        for place, name in enumerate(people):
            left, top = 1 + 21 * place, 12 + at % 5
            person = names.index(name) if name else 100 + at
            patch = noise(5, 5, seed=1000 + person).repeat(4, axis=0).repeat(4, axis=1)
            pixels[top : top + 20, left : left + 20] = patch
            row = face(photo, name, (left, top, left + 20, top + 20), session, *SIZE)
            yaw, azimuth, elevation = rng.uniform(-40, 40, 3)
            light = {"factor_light_azimuth": azimuth, "factor_light_elevation": elevation}
            rows.append({**row, "factor_yaw": yaw, **light})
        Image.fromarray(pixels).save(folder / photo)
    columns = [*COLUMNS, "factor_yaw", "factor_light_azimuth", "factor_light_elevation"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "annotations.csv", index=False)
    return folder


def detected(folder, photos, upsampling, threshold=0.0, progress=True):
    """In the place of dlib: every annotated face, a tenth larger on each side."""
    table = pd.read_csv(folder / "annotations.csv", dtype=str, keep_default_na=False)
    boxes = table[BOX].to_numpy(float)
    grown = (boxes[:, 2:] - boxes[:, :2]) / 10
    boxes = boxes + np.concatenate([-grown, grown], axis=1)
    return pd.DataFrame(boxes, columns=BOX).assign(photo=table["photo"], score=1.0)[
        DETECTION_COLUMNS
    ]
