"""FEI face database."""

import re

from thesislib.data.importers.source import AnnotatedFace, Entry, Source


def fei(source: Source) -> list[Entry]:
    """FEI face database: ``P-MM.jpg``, 14 photos (MM) of each person (P), without boxes."""
    entries = []
    for file in source.photos():
        match = re.fullmatch(r"(\d+)-(\d+)", file.stem)
        if match:
            entries.append(Entry(file, (AnnotatedFace(f"{int(match[1]):03d}", None),)))
        else:
            source.note(file, "not named P-MM: left out")
    if not entries:
        raise source.nothing_found("P-MM.jpg")
    return entries
