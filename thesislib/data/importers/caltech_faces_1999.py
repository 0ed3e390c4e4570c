"""Caltech Faces 1999."""

import csv
import re
from pathlib import Path

import scipy.io

from thesislib.data.importers.source import (
    Entry,
    Face,
    Source,
    SourceError,
    _lines,
    none_found,
    numbers,
)


def caltech_faces_1999(source: Source, identities: Path | None = None) -> list[Entry]:
    """Caltech Faces 1999: ``image_NNNN.jpg`` and corners in ``ImageData.mat``.

    Column N of ``SubDir_Data``, 8 x photos, holds x and y by turns of the face's four corners.

    Args:
        source: the folder.
        identities: a CSV table ``first,last,identity``, by photo numbers, as the collection
            itself does not say who is who.
    """
    if identities is None:
        raise SourceError(
            "caltech_faces_1999 needs --identities <table.csv> with columns first,last,identity "
            "(photo numbers), as the collection does not say who is who"
        )
    who = _identity_ranges(identities)
    path = source.one("ImageData.mat")
    try:
        corners = scipy.io.loadmat(path)["SubDir_Data"]
    except Exception as error:  # scipy raises whatever its parser met
        raise SourceError(f"{path}: cannot be read, or has no SubDir_Data ({error})") from None
    if corners.ndim != 2 or corners.shape[0] != 8:
        raise SourceError(f"{path}: SubDir_Data is {corners.shape}, expected 8 x photos")
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
        if number not in who:
            source.note(file, f"in no row of {identities.name}: unknown person")
        entries.append(Entry(file, (Face(who.get(number, ""), box),)))
    if not entries:
        raise none_found(source, "image_NNNN.jpg")
    return entries


def _identity_ranges(path: Path) -> dict[int, str]:
    who: dict[int, str] = {}
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    rows = csv.DictReader(_lines(path))
    if not {"first", "last", "identity"} <= set(rows.fieldnames or []):
        raise SourceError(f"{path}, line 1: columns are {rows.fieldnames}, not first,last,identity")
    for line, row in enumerate(rows, start=2):
        words = [row["first"] or "", row["last"] or ""]
        first, last = (int(v) for v in numbers(path, line, words, 2, "first and last"))
        for number in range(first, last + 1):
            if number in who:
                raise SourceError(f"{path}, line {line}: photo {number} is in an earlier row too")
            who[number] = (row["identity"] or "").strip()
    return who
