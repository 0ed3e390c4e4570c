"""VGG Image Annotator's projects."""

import json
from pathlib import Path
from typing import Any

from thesislib.data.importers.labels import (
    IDENTITY,
    Labelled,
    LabelsAre,
    entries_of,
    identity_in,
    name_of,
)
from thesislib.data.importers.source import (
    Entry,
    Source,
    SourceError,
    box_around,
    box_of_middle,
    box_of_size,
)

_LABEL = ("label", "class", "type", "category")  # attributes that say what it is


def via(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """VGG Image Annotator 2: its project, or the regions exported from it, as ``.json``.

    Of each photo it has ``filename`` and ``regions`` with ``shape_attributes`` (a rectangle, a
    circle, an ellipse or a polygon, whose box is taken) and ``region_attributes``: who it is, in
    ``identity``, ``name`` or ``person``, and what it is, in ``label``, ``class``, ``type`` or
    ``category``, see :func:`thesislib.data.importers.labels.kinds_of`. A photo without regions is
    left out: nobody may have looked at it.
    """
    photos = []
    for path in source.files({".json"}):
        try:
            table = json.loads(path.read_text(encoding="utf-8-sig"))
            images = list(table.get("_via_img_metadata", table).values())
            named = [(str(image["filename"]), _regions(image["regions"])) for image in images]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise SourceError(f"{path}: not JSON of VGG Image Annotator 2") from None
        for name, regions in named:
            photo = Labelled(path, name)
            if not regions:
                photo.broken = "no regions, by which it cannot be told whom it shows: left out"
            for at, region in enumerate(regions, start=1):
                where = f"{name}, region {at}"
                about = region.get("region_attributes")
                about = about if isinstance(about, dict) else {}
                label, identity = _label(path, where, about), identity_in(about)
                photo.add(label, identity, _box(region.get("shape_attributes")), where)
            photos.append(photo)
    if not photos:
        raise source.nothing_found("a VIA project .json and the photos that it names")
    return entries_of(source, photos, labels_are)


def _regions(regions: Any) -> list[dict[str, Any]]:
    """Regions of a photo, which version 1 numbers and version 2 lists."""
    return [dict(r) for r in (regions.values() if isinstance(regions, dict) else regions)]


def _label(path: Path, where: str, attributes: dict[str, Any]) -> str:
    """What a region is; "" where it is not said.

    Raises:
        SourceError: attributes of which none is known.
    """
    told = {name.casefold(): value for name, value in attributes.items()}
    value = next((label for name in _LABEL if (label := name_of(told.get(name)))), "")
    if told and told.keys().isdisjoint((*_LABEL, *IDENTITY)):
        raise SourceError(
            f"{path}, {where}: attributes are {', '.join(attributes)}; name that of people "
            "'identity', or that of what is shown 'label'"
        )
    return value


def _box(shape: Any) -> list[Any]:
    try:
        kind = shape["name"]
        if kind == "rect":
            return list(box_of_size(*(float(shape[k]) for k in ("x", "y", "width", "height"))))
        if kind in ("circle", "ellipse"):
            x, y = float(shape["cx"]), float(shape["cy"])
            rx, ry = (float(shape[name if name in shape else "r"]) for name in ("rx", "ry"))
            return list(box_of_middle(x, y, 2 * rx, 2 * ry))
        points = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
        return list(box_around(points))
    except (KeyError, TypeError, ValueError):
        return []
