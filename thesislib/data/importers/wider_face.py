"""WIDER FACE."""

import re

from thesislib.data.importers.source import (
    AnnotatedFace,
    Entry,
    Source,
    box_of_size,
    read_lines,
    read_numbers,
)


def wider_face(source: Source) -> list[Entry]:
    """WIDER FACE: ``wider_face_*_bbx_gt.txt`` and ``images/``; boxes without identities.

    A photo's path, the number of its boxes, then a line ``x y width height ...`` for each (one of
    zeros where there are none). Boxes marked invalid, or without area, are left out.
    """
    tables = [f for f in source.files({".txt"}) if re.fullmatch(r"wider_face_.*_bbx_gt", f.stem)]
    entries = []
    for path in tables:
        lines = read_lines(path)
        at = 0
        while at < len(lines):
            name = lines[at].strip()
            if not name:
                at += 1
                continue
            words = lines[at + 1].split() if at + 1 < len(lines) else []
            (count,) = read_numbers(path, at + 2, words, 1, "how many boxes follow")
            faces = []
            for line in range(at + 2, at + 2 + max(1, int(count))):
                words = lines[line].split() if line < len(lines) else []
                x, y, width, height = read_numbers(path, line + 1, words, 4, "x y width height")
                invalid = len(words) > 7 and words[7] == "1"
                if width > 0 and height > 0 and not invalid:
                    faces.append(AnnotatedFace("", box_of_size(x, y, width, height)))
            at += 2 + max(1, int(count))
            named = source.find(path, name)
            if len(named) != 1:
                told = "is not there" if not named else f"is there {len(named)} times: left out"
                source.note(path, f"{name} {told}")
                continue
            (file,) = named
            if count and not faces:
                source.note(file, "its boxes are invalid, or have no size: left out")
            else:
                entries.append(Entry(file, tuple(faces)))
    if not entries:
        raise source.nothing_found("wider_face_*_bbx_gt.txt and the photos it names")
    return entries
