"""A folder with one folder per person."""

from thesislib.data.importers.source import AnnotatedFace, Entry, Source


def folder(source: Source) -> list[Entry]:
    """One folder per person, ``anna/1.jpg``; folders in it are sittings, ``anna/may/1.jpg``."""
    entries = []
    for file in source.photos():
        parts = file.relative_to(source.folder).parts
        if len(parts) == 1:
            source.note(file, "in no person's folder: left out")
        else:
            session = "/".join(parts[1:-1])
            entries.append(Entry(file, (AnnotatedFace(parts[0].strip(), None),), session))
    if not entries:
        raise source.nothing_found("<person>/<photo>.jpg")
    return entries
