"""CVAT's XML."""

from xml.etree.ElementTree import Element

from thesislib.data.importers.labels import Labelled, LabelsAre, entries_of, identity_in
from thesislib.data.importers.source import (
    Entry,
    Source,
    SourceError,
    box_around,
    box_of_middle,
    box_of_size,
)
from thesislib.data.importers.xml_files import read_xml

_AREAS = {"box", "polygon", "ellipse", "mask"}  # shapes of a face; tags and points are none
_CORNERS = ("xtl", "ytl", "xbr", "ybr")


def cvat(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """CVAT for images 1.1: an ``annotations.xml`` with an ``image`` for each photo.

    An image has ``name``, ``width``, ``height``, and in it are ``box``, ``polygon``, ``ellipse`` or
    ``mask``, whose box is taken. Who it is may stand in an ``attribute`` or be the label, see
    :func:`thesislib.data.importers.labels.kinds_of`.
    """
    photos = []
    for path in source.files({".xml"}):
        root = read_xml(path)
        if root.tag != "annotations":
            raise SourceError(f"{path}: the root is {root.tag!r}, not 'annotations'")
        if root.find("track") is not None:
            raise SourceError(
                f"{path}: CVAT for video, whose frames have no files; export it as CVAT for images"
            )
        for image in root.findall("image"):
            name = image.get("name")
            if not name:
                raise SourceError(f"{path}: an image without a name")
            photo = Labelled(path, name)
            photo.is_of(image.get("width"), image.get("height"))
            shapes = [shape for shape in image if shape.tag in _AREAS]
            photo.skipped = len(image) - len(shapes)
            for shape in shapes:
                attributes = {a.get("name", ""): a.text for a in shape.findall("attribute")}
                where = f"image {name}, {shape.tag}"
                photo.add(shape.get("label", ""), identity_in(attributes), _box(shape), where)
            photos.append(photo)
    if not photos:
        raise source.nothing_found("annotations.xml and the photos that it names")
    return entries_of(source, photos, labels_are)


def _box(shape: Element) -> list[str | float | None]:
    try:
        if float(shape.get("rotation", 0)):
            return []  # its corners are those of the box before it is turned
        if shape.tag == "box":
            return [shape.get(corner) for corner in _CORNERS]
        if shape.tag == "mask":
            sides = (float(shape.get(name, "")) for name in ("left", "top", "width", "height"))
            return list(box_of_size(*sides))
        if shape.tag == "ellipse":
            x, y, rx, ry = (float(shape.get(name, "")) for name in ("cx", "cy", "rx", "ry"))
            return list(box_of_middle(x, y, 2 * rx, 2 * ry))
        points = [point.split(",") for point in shape.get("points", "").split(";")]
        return list(box_around((float(x), float(y)) for x, y in points))
    except ValueError:
        return []
