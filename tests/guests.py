"""A dataset of portraits side by side, in which dlib finds faces."""

import numpy as np
import pandas as pd
from conftest import NO_BOX, PARTY, face
from PIL import Image

from thesislib.data.schema import COLUMNS
from thesislib.synthetic import scene

SIZE = 112  # height of a portrait in pixels


def write_guests(folder):
    """Portraits side by side: three people, alone, together and with strangers.

    One photo shows strangers alone and one shows nobody; two photos of each person are theirs
    alone.
    """
    alone = [(name,) for name in PARTY]
    shown = [*alone, *alone, PARTY, PARTY[:2], ("", PARTY[2]), PARTY[1:], ("", ""), ()]
    rows = []
    (folder / "photos").mkdir(parents=True)
    for at, people in enumerate(shown):
        name, strips, boxes = f"photos/{at:03d}.png", [], []
        for place, identity in enumerate(people):
            number = PARTY.index(identity) if identity else 10 + at + place
            pixels, (drawn,) = scene.render_photo(number, 0, at, size=SIZE)
            boxes.append(drawn.box + np.tile([sum(strip.shape[1] for strip in strips), 0], 2))
            strips.append(pixels)
        photo = np.concatenate(strips or [np.full((SIZE, SIZE, 3), 90, np.uint8)], axis=1)
        Image.fromarray(photo).save(folder / name)
        for identity, box in zip(people or ("",), boxes or [NO_BOX], strict=True):
            rows.append(face(name, identity, box, "", photo.shape[1], photo.shape[0]))
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "annotations.csv", index=False)
    return folder
