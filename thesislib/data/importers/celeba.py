"""CelebA in the wild."""

from thesislib.data.importers.source import (
    Entry,
    Face,
    Source,
    SourceError,
    _lines,
    none_found,
    numbers,
)


def celeba(source: Source) -> list[Entry]:
    """CelebA in the wild: ``identity_CelebA.txt``, ``list_bbox_celeba.txt`` and the photos.

    The box file has a count, a header, then ``name x y width height``.
    """
    files = {file.name: file for file in source.photos()}
    who = {}
    path = source.one("identity_CelebA.txt")
    for line, text in enumerate(_lines(path), start=1):
        words = text.split()
        if words:
            if len(words) != 2:
                raise SourceError(f"{path}, line {line}: {text!r}; expected a name and a number")
            who[words[0]] = words[1]
    entries = []
    path = source.one("list_bbox_celeba.txt")
    for line, text in enumerate(_lines(path), start=1):
        words = text.split()
        if line <= 2 or not words:
            continue
        x, y, width, height = numbers(path, line, words[1:], 4, "x y width height")
        file = files.pop(words[0], None)
        if file is None:
            source.note(path, f"line {line}: {words[0]} is not there")
            continue
        if words[0] not in who:
            source.note(file, "not in identity_CelebA.txt: unknown person")
        face = Face(who.get(words[0], ""), (x, y, x + width, y + height))
        entries.append(Entry(file, (face,)))
    if not entries:
        raise none_found(source, "the photos that list_bbox_celeba.txt names")
    for file in files.values():
        source.note(file, "no box in list_bbox_celeba.txt: left out")
    return entries
