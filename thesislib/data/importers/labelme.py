"""LabelMe's JSON files."""

import json
import math
from typing import Any

from thesislib.data.importers.labels import Labelled, LabelsAre, entries_of
from thesislib.data.importers.source import Entry, Source, SourceError, box_around, box_of_middle

_AREAS = {"rectangle", "polygon", "circle", "mask"}  # shapes of a face; points and lines are none


def labelme(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """LabelMe: a ``.json`` file for each photo.

    In it are ``imagePath``, ``imageWidth``, ``imageHeight`` and ``shapes``, each with ``label``,
    ``shape_type`` and ``points``; the box of a rectangle, polygon or circle is taken. Who it is is
    the label, see :func:`thesislib.data.importers.labels.kinds_of`. A file without a shape is of a
    photo that shows nobody.
    """
    photos = []
    for path in source.files({".json"}):
        try:
            table = json.loads(path.read_text(encoding="utf-8-sig"))
            photo = Labelled(path, str(table["imagePath"]))
            shapes = [(shape["label"], dict(shape)) for shape in table["shapes"]]
            areas = [one for one in shapes if one[1].get("shape_type", "polygon") in _AREAS]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise SourceError(
                f"{path}: not LabelMe JSON ({type(error).__name__}: {error})"
            ) from None
        photo.is_of(table.get("imageWidth"), table.get("imageHeight"))
        photo.skipped = len(shapes) - len(areas)
        for at, (label, shape) in enumerate(areas, start=1):
            photo.add(label, "", _box(shape), f"shape {at}")
        photos.append(photo)
    if not photos:
        raise source.nothing_found("<photo>.json and the photo that it names")
    return entries_of(source, photos, labels_are)


def _box(shape: dict[str, Any]) -> list[Any]:
    """The box around a shape's points; of a circle, which has its middle and a point on it."""
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if shape.get("shape_type") == "circle":
            (x, y), edge = points
            radius = math.dist((x, y), edge)
            return list(box_of_middle(x, y, 2 * radius, 2 * radius))
        if len(points) < 2:
            return []
        return list(box_around(points))
    except (KeyError, TypeError, ValueError):
        return []
