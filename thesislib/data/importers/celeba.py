"""CelebA in the wild."""

from pathlib import Path

from thesislib.data.images import PhotoError, photo_size
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

    The box file has a count, a header, then ``name x y width height``. Its boxes are of the photos
    in the wild: the aligned ones, of 178 x 218 pixels, are left out where they lie beside, and
    refused where there are no others.
    """
    files: dict[str, list[Path]] = {}
    for file in source.photos():
        files.setdefault(file.name, []).append(file)
    some = [file for each in list(files.values())[:20] for file in each]
    if some and all(map(_is_aligned, some)):
        raise SourceError(
            f"{source.folder}: these are the aligned photos (178 x 218 pixels), and the boxes of "
            "list_bbox_celeba.txt are of those in the wild, img_celeba; to take them without "
            "boxes, put them into a folder per person"
        )
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
        named = files.pop(words[0], [])
        if len(named) > 1:
            for file in filter(_is_aligned, named):
                source.note(file, "aligned, and its box is of the photo in the wild: left out")
            named = [file for file in named if not _is_aligned(file)]
        if len(named) != 1:
            told = "is not there" if not named else f"is there {len(named)} times: left out"
            source.note(path, f"line {line}: {words[0]} {told}")
            continue
        (file,) = named
        if words[0] not in identity_of:
            source.note(file, "not in identity_CelebA.txt: unknown person")
        entries.append(Entry(file, (AnnotatedFace(identity_of.get(words[0], ""), box),)))
    if not entries:
        raise source.nothing_found("the photos that list_bbox_celeba.txt names")
    for file in (file for each in files.values() for file in each):
        source.note(file, "no box in list_bbox_celeba.txt: left out")
    return entries


def _is_aligned(file: Path) -> bool:
    try:
        return photo_size(file) == (178, 218)
    except PhotoError:  # which is told when the photo is imported
        return False
