"""CelebA in the wild."""

from thesislib.data.importers.source import (
    AnnotatedFace,
    Entry,
    Source,
    SourceError,
    box_of_size,
    read_lines,
    read_numbers,
)


def celeba(source: Source) -> list[Entry]:
    """CelebA in the wild: ``identity_CelebA.txt``, ``list_bbox_celeba.txt`` and the photos.

    The box file has a count, a header, then ``name x y width height``.
    """
    files = {file.name: file for file in source.photos()}
    identity_of = {}
    path = source.one("identity_CelebA.txt")
    for line, text in enumerate(read_lines(path), start=1):
        words = text.split()
        if words:
            if len(words) != 2:
                raise SourceError(f"{path}, line {line}: {text!r}; expected a name and a number")
            identity_of[words[0]] = words[1]
    entries = []
    path = source.one("list_bbox_celeba.txt")
    for line, text in enumerate(read_lines(path), start=1):
        words = text.split()
        if line <= 2 or not words:
            continue
        box = box_of_size(*read_numbers(path, line, words[1:], 4, "x y width height"))
        file = files.pop(words[0], None)
        if file is None:
            source.note(path, f"line {line}: {words[0]} is not there")
            continue
        if words[0] not in identity_of:
            source.note(file, "not in identity_CelebA.txt: unknown person")
        entries.append(Entry(file, (AnnotatedFace(identity_of.get(words[0], ""), box),)))
    if not entries:
        raise source.nothing_found("the photos that list_bbox_celeba.txt names")
    for file in files.values():
        source.note(file, "no box in list_bbox_celeba.txt: left out")
    return entries
