"""Georgia Tech face database."""

import re

from thesislib.data.importers.source import (
    Entry,
    Face,
    Source,
    SourceError,
    _lines,
    none_found,
    numbers,
)


def georgia_tech(source: Source) -> list[Entry]:
    """Georgia Tech face database: ``sNN/MM.jpg`` and ``labels/labNNN.txt``.

    Twenty numbers are kept for each person: photo MM of person P has label 20 (P - 1) + MM, one
    line ``x_left y_top x_right y_bottom sP``.
    """
    labels = {}
    for path in source.files({".txt"}):
        match = re.fullmatch(r"lab(\d+)", path.stem)
        if match:
            words = " ".join(_lines(path)).split()
            box = numbers(path, 1, words, 4, "x_left y_top x_right y_bottom, then the person")
            person = words[4].lstrip("s") if len(words) > 4 else ""
            number = int(match[1])
            if not person.isdecimal() or int(person) != (number - 1) // 20 + 1:
                raise SourceError(
                    f"{path}, line 1: person {words[4] if len(words) > 4 else '?'!r}; "
                    f"label {number} is of s{(number - 1) // 20 + 1}"
                )
            labels[number] = (path, tuple(box))
    entries = []
    for file in source.photos():
        person = re.fullmatch(r"s(\d+)", file.parent.name)
        if not person or not file.stem.isdecimal():
            continue
        label = labels.pop(20 * (int(person[1]) - 1) + int(file.stem), None)
        if label is None:
            source.note(file, "no label: box from the detector")
        box = label[1] if label else None
        entries.append(Entry(file, (Face(file.parent.name, box),)))
    if not entries:
        raise none_found(source, "sNN/MM.jpg")
    for path, _ in labels.values():
        source.note(path, "a label without its photo")
    return entries
