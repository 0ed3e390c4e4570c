"""Caltech Faces 1999."""

import csv
import re
from pathlib import Path

import numpy as np
import scipy.io

from thesislib.data.importers.source import (
    AnnotatedFace,
    Entry,
    Source,
    SourceError,
    read_lines,
    read_numbers,
)


def caltech_faces_1999(source: Source, identities: Path | str | None = None) -> list[Entry]:
    """Caltech Faces 1999: ``image_NNNN.jpg`` and corners in ``ImageData.mat``.

    Column N of ``SubDir_Data``, 8 x photos, holds x and y by turns of the face's four corners.

    Args:
        source: the folder.
        identities: a CSV table ``first,last,identity``, by photo numbers, as the collection
            itself does not say who is who.

    Raises:
        SourceError: no such table, or one of another form.
    """
    if identities is None:
        raise SourceError(
            "caltech_faces_1999 needs --identities <table.csv> with columns first,last,identity "
            "(photo numbers), as the collection does not say who is who"
        )
    table = Path(identities)
    identity_of = _read_identities(table)
    corners = _read_corners(source.one("ImageData.mat"))
    entries = []
    for file in source.photos():
        match = re.fullmatch(r"image_(\d+)", file.stem)
        if not match:
            continue
        number = int(match[1])
        box = None
        if 1 <= number <= corners.shape[1]:
            x, y = corners[0::2, number - 1], corners[1::2, number - 1]
            box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        else:
            source.note(file, "no column in ImageData.mat: box from the detector")
        if number not in identity_of:
            source.note(file, f"in no row of {table.name}: unknown person")
        entries.append(Entry(file, (AnnotatedFace(identity_of.get(number, ""), box),)))
    if not entries:
        raise source.nothing_found("image_NNNN.jpg")
    return entries


def _read_corners(path: Path) -> np.ndarray:
    """Corners [8, photos] in pixels: x and y by turns."""
    try:
        corners = scipy.io.loadmat(path)["SubDir_Data"]
    except Exception as error:  # scipy raises whatever its parser met
        raise SourceError(f"{path}: cannot be read, or has no SubDir_Data ({error})") from None
    if corners.ndim != 2 or corners.shape[0] != 8:
        raise SourceError(f"{path}: SubDir_Data is {corners.shape}, expected 8 x photos")
    return corners


def _read_identities(path: Path) -> dict[int, str]:
    """Identities by the numbers of photos."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    identity_of: dict[int, str] = {}
    rows = csv.DictReader(read_lines(path))
    if not {"first", "last", "identity"} <= set(rows.fieldnames or []):
        raise SourceError(f"{path}, line 1: columns are {rows.fieldnames}, not first,last,identity")
    for line, row in enumerate(rows, start=2):
        words = [row["first"] or "", row["last"] or ""]
        first, last = (int(v) for v in read_numbers(path, line, words, 2, "first and last"))
        for number in range(first, last + 1):
            if number in identity_of:
                raise SourceError(f"{path}, line {line}: photo {number} is in an earlier row too")
            identity_of[number] = (row["identity"] or "").strip()
    return identity_of
