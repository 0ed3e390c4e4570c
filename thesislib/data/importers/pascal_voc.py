"""Pascal VOC's XML files."""

from thesislib.data.importers.labels import Labelled, LabelsAre, entries_of
from thesislib.data.importers.source import Entry, Source, SourceError
from thesislib.data.importers.xml_files import read_xml

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def pascal_voc(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """Pascal VOC: an ``.xml`` file for each photo, as labelImg writes them.

    Its root is ``annotation``, with ``filename``, ``size`` and for each box an ``object`` with
    ``name`` and ``bndbox``; see :func:`thesislib.data.importers.labels.kinds_of`. A file without
    an object is of a photo that shows nobody.
    """
    photos = []
    for path in source.files({".xml"}):
        root = read_xml(path)
        if root.tag != "annotation":
            raise SourceError(f"{path}: the root is {root.tag!r}, not 'annotation'")
        name = (root.findtext("filename") or "").strip()
        if not name:
            raise SourceError(f"{path}: no filename in it")
        photo = Labelled(path, name)
        photo.is_of(root.findtext("size/width"), root.findtext("size/height"))
        for at, shown in enumerate(root.findall("object"), start=1):
            box = [shown.findtext(f"bndbox/{corner}") for corner in _CORNERS]
            photo.add((shown.findtext("name") or "").strip(), "", box, f"object {at}")
        photos.append(photo)
    if not photos:
        raise source.nothing_found("<photo>.xml and the photo that it names")
    return entries_of(source, photos, labels_are)
