"""Labeled Faces in the Wild."""

import re

from thesislib.data.importers.source import Entry, Face, Source, none_found

LFW_ENLARGED = 2.2  # an LFW photo is the detector's box, enlarged so many times


def lfw(source: Source) -> list[Entry]:
    """Labeled Faces in the Wild: ``Name/Name_NNNN.jpg``.

    The photos are a detector's boxes, enlarged 2.2 times, so the box is the centre of each.
    ``sklearn.datasets.fetch_lfw_people(data_home=...)`` downloads them.
    """
    entries = []
    for file in source.photos():
        if re.fullmatch(re.escape(file.parent.name) + r"_\d+", file.stem):
            entries.append(Entry(file, (Face(file.parent.name, CENTRE),)))
        else:
            source.note(file, "not named Name/Name_NNNN: left out")
    if not entries:
        raise none_found(source, "Name/Name_NNNN.jpg")
    return entries


# In the place of a box: the photo's centre, as its size is not known before it is opened.
CENTRE = (-1.0, -1.0, -1.0, -1.0)
