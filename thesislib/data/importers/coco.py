"""COCO JSON."""

import json
from pathlib import Path
from typing import Any

from thesislib.data.importers.labels import Labelled, LabelsAre, entries_of, identity_in, name_of
from thesislib.data.importers.source import Entry, Source, SourceError


def coco(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """COCO JSON, one or more ``.json`` files: boxes of faces, or of people by category.

    A box is ``bbox`` [x, y, width, height]; who it is may stand in the annotation's ``identity``
    or in its ``attributes``, or be its category, see
    :func:`thesislib.data.importers.labels.kinds_of`. Crowds (``iscrowd``) are passed over.
    """
    photos: list[Labelled] = []
    labels: dict[str, str] = {}
    tables = source.files({".json"})
    if not tables:
        raise SourceError(f"{source.folder}: no .json file in it")
    for path in tables:
        _read(path, photos, labels)
    return entries_of(source, photos, labels_are, labels)


def _read(path: Path, photos: list[Labelled], labels: dict[str, str]) -> None:
    """Add the photos and the labels, with their headings, of a table."""
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {str(image["id"]): _photo(path, image) for image in table["images"]}
        categories = {str(c["id"]): c for c in table.get("categories", [])}
        headings = {str(c["name"]): str(c.get("supercategory") or "") for c in categories.values()}
        annotations = [dict(annotation) for annotation in table["annotations"]]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"{path}: not COCO JSON ({type(error).__name__}: {error})") from None
    if len(images) < len(table["images"]):
        raise SourceError(f"{path}: two images have one id")
    crowds: list[Labelled] = []
    for at, annotation in enumerate(annotations):
        photo = images.get(str(annotation.get("image_id")))
        if photo is None:
            raise SourceError(
                f"{path}, annotation {at}: image_id {annotation.get('image_id')!r} is of no image"
            )
        if annotation.get("iscrowd") in (1, "1"):
            crowds.append(photo)
            continue
        category = categories.get(str(annotation.get("category_id")))
        if category is None and categories:
            raise SourceError(
                f"{path}, annotation {at}: category_id {annotation.get('category_id')!r} is of no "
                "category"
            )
        identity = name_of(annotation.get("identity"))
        identity = identity or identity_in(annotation.get("attributes"))
        label = category["name"] if category else ""
        photo.add(label, identity, _corners(annotation.get("bbox")), f"annotation {at}")
    for photo in crowds:
        if not photo.boxes:
            photo.broken = photo.broken or "a crowd alone, whose faces have no boxes: left out"
    photos += images.values()
    labels.update(headings or {"": ""})


def _photo(path: Path, image: dict[str, Any]) -> Labelled:
    photo = Labelled(path, str(image["file_name"]))
    photo.is_of(image.get("width"), image.get("height"))
    return photo


def _corners(bbox: Any) -> list[Any]:
    """Corners of ``bbox``, or what it is, where it is no box."""
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        return bbox if isinstance(bbox, list) else [bbox]
    return [x, y, x + width, y + height]
