"""COCO JSON."""

import json
from typing import Any

from thesislib.data.importers.source import (
    AnnotatedFace,
    Entry,
    Source,
    SourceError,
    box_of_size,
)


def coco(source: Source) -> list[Entry]:
    """COCO JSON: the faces (or, if there are none, the only category) of the one ``.json`` file.

    A box is ``bbox`` [x, y, width, height]; who it is may stand in the annotation's ``identity``
    or in its ``attributes``. Crowds (``iscrowd``) are passed over.
    """
    tables = source.files({".json"})
    if len(tables) != 1:
        raise SourceError(f"{source.folder}: {len(tables)} .json files, needs one")
    path = tables[0]
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
        photos = {image["id"]: image["file_name"] for image in table["images"]}
        categories = {c["id"]: str(c["name"]).lower() for c in table.get("categories", [])}
        annotations = table["annotations"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: not COCO JSON ({type(error).__name__}: {error})") from None
    wanted = {key for key, name in categories.items() if "face" in name}
    if not wanted and len(categories) > 1:
        names = ", ".join(categories.values())
        raise SourceError(f"{path}: no category named face among {names}")
    faces: dict[Any, list[AnnotatedFace]] = {key: [] for key in photos}
    for at, annotation in enumerate(annotations):
        if annotation.get("iscrowd") or (wanted and annotation.get("category_id") not in wanted):
            continue
        key, box = annotation.get("image_id"), annotation.get("bbox")
        if key not in photos or not isinstance(box, list) or len(box) != 4:
            raise SourceError(f"{path}, annotation {at}: image_id {key!r}, bbox {box!r}")
        attributes = annotation.get("attributes") or {}
        identity = str(annotation.get("identity", attributes.get("identity", "")) or "")
        faces[key].append(AnnotatedFace(identity, box_of_size(*(float(v) for v in box))))
    files = {file.relative_to(source.folder).as_posix(): file for file in source.photos()}
    entries = []
    for key, name in photos.items():
        near = (path.parent / name).resolve()
        file = next((f for f in files.values() if f.resolve() == near), None)
        file = file or next((f for n, f in files.items() if n.endswith(f"/{name}")), None)
        if file is None:
            source.note(path, f"{name} is not there")
        else:
            entries.append(Entry(file, tuple(faces[key])))
    if not entries:
        raise source.nothing_found(f"the photos that {path.name} names")
    return entries
