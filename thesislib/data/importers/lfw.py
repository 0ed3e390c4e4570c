"""Labeled Faces in the Wild."""

import re
from pathlib import Path

from thesislib.data.images import PhotoError, photo_size
from thesislib.data.importers.source import AnnotatedFace, Box, Entry, Source

ENLARGED = 2.2  # a photo is the detector's box, enlarged so many times


def lfw(source: Source) -> list[Entry]:
    """Labeled Faces in the Wild: ``Name/Name_NNNN.jpg``.

    The photos are a detector's boxes, enlarged 2.2 times, so the box is the centre of each.
    ``sklearn.datasets.fetch_lfw_people(data_home=...)`` downloads them.
    """
    entries = []
    for file in source.photos():
        if re.fullmatch(re.escape(file.parent.name) + r"_\d+", file.stem):
            entries.append(Entry(file, (AnnotatedFace(file.parent.name, _centre(file)),)))
        else:
            source.note(file, "not named Name/Name_NNNN: left out")
    if not entries:
        raise source.nothing_found("Name/Name_NNNN.jpg")
    return entries


def _centre(file: Path) -> Box | None:
    try:
        width, height = photo_size(file)
    except PhotoError:  # which is told when the photo is imported
        return None
    half_width, half_height = width / ENLARGED / 2, height / ENLARGED / 2
    x, y = width / 2, height / 2
    return (x - half_width, y - half_height, x + half_width, y + half_height)
