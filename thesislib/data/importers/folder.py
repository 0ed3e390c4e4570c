"""A folder with one folder per person."""

import re

from thesislib.data.importers.source import AnnotatedFace, Entry, Source

_SPLIT = re.compile(r"(train|training|test|testing|val|valid|validation)([ _-]?(set|data|images))?")


def is_split(name: str) -> bool:
    """Whether a folder is named like a part of a split, as no people are.

    >>> is_split("Train"), is_split("test_set"), is_split("Trainor")
    (True, True, False)
    """
    return _SPLIT.fullmatch(name.casefold()) is not None


def folder(source: Source) -> list[Entry]:
    """One folder per person, ``anna/1.jpg``; folders in it are sittings, ``anna/may/1.jpg``.

    A folder that wraps all of them is passed through (``people/anna/1.jpg``), and parts of a split
    are taken together (``train/anna/1.jpg``, ``test/anna/2.jpg``). Names that differ in capitals
    alone are one person's.
    """
    where = {
        file: tuple(source.name(part) for part in file.relative_to(source.folder).parts[:-1])
        for file in source.photos()
    }
    where = _without_wrapper(source, _without_splits(source, _without_wrapper(source, where)))
    entries = []
    for file, folders in where.items():
        if not folders or not folders[0]:
            source.note(file, "in no person's folder: left out")
        else:
            entries.append(Entry(file, (AnnotatedFace(folders[0], None),), "/".join(folders[1:])))
    if not entries:
        raise source.nothing_found("<person>/<photo>.jpg")
    sitting = next((entry for entry in entries if entry.session), None)
    if sitting is not None:
        person = sitting.faces[0].identity
        source.said.append(
            f"folders in a person's are sittings, as {sitting.session} of {person}: are those the "
            "people, name the folder above them"
        )
    above = len(entries[0].file.relative_to(source.folder).parts) - 1
    above -= len(where[entries[0].file])
    _say_who_has_no_photo(source, above, {e.faces[0].identity.casefold() for e in entries})
    return entries


def _without_wrapper(source: Source, where: dict) -> dict:
    """Places less the folders that hold all others and no photo."""
    while where and all(len(folders) > 1 for folders in where.values()):
        first = {folders[0] for folders in where.values()}
        if len(first) > 1:
            break
        source.said.append(f"{first.pop()}/ holds everything: the folders in it are the people")
        where = {file: folders[1:] for file, folders in where.items()}
    return where


def _without_splits(source: Source, where: dict) -> dict:
    """Places less the parts of a split, where all photos are in one."""
    first = {folders[0] for folders in where.values() if folders}
    deep = all(len(folders) > 1 for folders in where.values())
    if not first or not deep or not all(map(is_split, first)):
        return where
    source.said.append(
        f"{', '.join(sorted(first))} are parts of a split: their people are taken together"
    )
    return {file: folders[1:] for file, folders in where.items()}


def _say_who_has_no_photo(source: Source, above: int, people: set[str]) -> None:
    """Say which folders beside the people's hold files and no photo.

    Args:
        source: the collection.
        above: how many folders lie above the people's.
        people: who has photos; names in lower case.
    """
    without = set()
    for file in source.all_files:
        folders = [source.name(part) for part in file.relative_to(source.folder).parts[:-1]]
        if folders[above:] and folders[above] and folders[above].casefold() not in people:
            without.add(folders[above])
    if without:
        source.said.append(f"without a photo that is read: {', '.join(sorted(without))}")
