"""Georgia Tech face database."""

import re
from pathlib import Path

from thesislib.data.importers.source import (
    AnnotatedFace,
    Box,
    Entry,
    Source,
    SourceError,
    read_lines,
    read_numbers,
)


def georgia_tech(source: Source) -> list[Entry]:
    """Georgia Tech face database: ``sNN/MM.jpg`` and ``labels/labNNN.txt``.

    Twenty numbers are kept for each person: photo MM of person P has label 20 (P - 1) + MM, one
    line ``x_left y_top x_right y_bottom sP``.
    """
    labels: dict[int, tuple[Path, Box]] = {}
    for path in source.files({".txt"}):
        match = re.fullmatch(r"lab(\d+)", path.stem)
        if match:
            labels[int(match[1])] = (path, _read_label(path, int(match[1])))
    entries = []
    for file in source.photos():
        match = re.fullmatch(r"s(\d+)", file.parent.name)
        if not match or not file.stem.isdecimal():
            continue
        label = labels.pop(20 * (int(match[1]) - 1) + int(file.stem), None)
        if label is None:
            source.note(file, "no label: box from the detector")
        face = AnnotatedFace(file.parent.name, label[1] if label else None)
        entries.append(Entry(file, (face,)))
    if not entries:
        raise source.nothing_found("sNN/MM.jpg")
    for path, _ in labels.values():
        source.note(path, "a label without its photo")
    return entries


def _read_label(path: Path, number: int) -> Box:
    words = " ".join(read_lines(path)).split()
    x1, y1, x2, y2 = read_numbers(
        path, 1, words, 4, "x_left y_top x_right y_bottom, then the person"
    )
    person = words[4].lstrip("s") if len(words) > 4 else ""
    wanted = (number - 1) // 20 + 1
    if not person.isdecimal() or int(person) != wanted:
        raise SourceError(
            f"{path}, line 1: person {words[4] if len(words) > 4 else '?'!r}; "
            f"label {number} is of s{wanted}"
        )
    return (x1, y1, x2, y2)
