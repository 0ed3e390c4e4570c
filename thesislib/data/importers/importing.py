"""From photo collections in their own forms to datasets."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, photo_size, read_photo
from thesislib.data.importers.archives import unpacked
from thesislib.data.importers.caltech_faces_1999 import caltech_faces_1999
from thesislib.data.importers.celeba import celeba
from thesislib.data.importers.coco import coco
from thesislib.data.importers.fei import fei
from thesislib.data.importers.folder import folder as one_folder_per_person
from thesislib.data.importers.georgia_tech import georgia_tech
from thesislib.data.importers.lfw import lfw
from thesislib.data.importers.look_over import LOOK_OVER, SAME_PICTURE, write_look_over
from thesislib.data.importers.source import SHORT_SIDE, Box, Entry, Source, SourceError
from thesislib.data.importers.wider_face import wider_face
from thesislib.data.schema import (
    ANNOTATIONS,
    MAX_OVERHANG,
    Dataset,
    DatasetError,
    read_dataset,
    write_annotations,
)

SOURCES: dict[str, Callable[..., list[Entry]]] = {
    "georgia_tech": georgia_tech,
    "caltech_faces_1999": caltech_faces_1999,
    "fei": fei,
    "lfw": lfw,
    "celeba": celeba,
    "wider_face": wider_face,
    "coco": coco,
    "folder": one_folder_per_person,
}
RECORD, JOURNAL = "import.json", "import.jsonl"
_QUALITY = 92  # of the JPEGs written
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


def import_folder(folder: Path | str, to: Path | str, progress: bool = True) -> Dataset:
    """Bring a folder with one folder of photos per person into the dataset form.

    ``anna/1.jpg`` is a photo of ``anna``; folders in a person's are sittings, ``anna/may/1.jpg``.
    Boxes are dlib's; see :func:`import_photos`.

    Args:
        folder: the photos, or a zip or tar archive of them; never written to.
        to: dataset folder.
        progress: show a bar.

    Returns:
        the dataset, checked.

    Raises:
        SourceError, DatasetError, storage.FolderInUseError: see :func:`import_photos`.
    """
    return import_photos("folder", folder, to, progress=progress)


def import_photos(
    source: str,
    folder: Path | str,
    to: Path | str,
    identities: Path | str | None = None,
    progress: bool = True,
) -> Dataset:
    """Bring a photo collection into the dataset form.

    Photos are turned upright, scaled to at most ``SHORT_SIDE`` pixels on the shorter side and
    written as JPEG; boxes are scaled along. Where the source has no box, it is dlib's, if it
    finds exactly one face (``box_source`` says which). What is left out or doubtful is listed in
    ``to_look_over.csv``, and shown in ``to_look_over.jpg``. Interrupted, the same call goes on
    where it stopped; repeated, it gives the same bytes.

    Args:
        source: a name in ``SOURCES``.
        folder: the source's folder, or a zip or tar archive of it; never written to.
        to: dataset folder.
        identities: who is who, for a source that does not say (see its docstring).
        progress: show a bar.

    Returns:
        the dataset, checked.

    Raises:
        SourceError: the source is not in its form, an archive is damaged or unsafe, or no photo
            could be used.
        DatasetError: ``to`` holds something else.
        storage.FolderInUseError: another run is writing to ``to``.
        MissingExtraError: a box is wanted and dlib is not installed.
    """
    if source not in SOURCES:
        raise SourceError(f"source {source!r} is unknown; choose one of {', '.join(SOURCES)}")
    folder, to = Path(folder), Path(to)
    if not folder.exists():
        raise SourceError(f"{folder}: no such folder or archive")
    if to.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"{to}: lies within the source, which is never written to")
    settings = {"source": source, "from": folder.name, "short_side": SHORT_SIDE}
    check_target(to, settings)
    with unpacked(folder) as unpacked_folder:
        collection = Source(unpacked_folder)
        # Read before anything is written: a source that is not in its form leaves no trace.
        keywords = {"identities": identities} if source == "caltech_faces_1999" else {}
        entries = SOURCES[source](collection, **keywords)
        with storage.folder_lock(to):
            check_target(to, settings)
            storage.write_json(to / RECORD, settings)
            _import_entries(collection, entries, to, progress)
    return read_dataset(to)


def check_target(to: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but (part of) what an import of these settings makes.

    Raises:
        DatasetError: another import's record lies there, a damaged one, or a dataset without one.
    """
    record = to / RECORD
    if record.exists():
        try:
            found = storage.read_record(record, "an import")
        except ValueError as error:
            raise DatasetError(str(error)) from None
        if found != settings:
            raise DatasetError(f"{to}: made by another import ({record.name} there says which)")
    elif any((to / name).exists() for name in ("photos", ANNOTATIONS)):
        raise DatasetError(f"{to}: holds a dataset that was not imported; choose another folder")


def summary(dataset: Dataset) -> str:
    """What is in a dataset, and what an import left to look over; a line each, for people."""
    table = dataset.table
    faces = table["x1"].notna()
    lines = [
        f"{len(dataset.photos)} photos, {int(faces.sum())} faces, "
        f"{len(dataset.identities)} people in {dataset.folder}"
    ]
    if "box_source" in table and (table["box_source"] == "detector").any():
        lines.append(f"{int((table['box_source'] == 'detector').sum())} boxes are the detector's")
    listed = dataset.folder / LOOK_OVER
    if listed.exists():
        reasons = pd.read_csv(listed, dtype=str, keep_default_na=False)["reason"]
        twins = int(reasons.str.startswith(SAME_PICTURE).sum())
        if len(reasons):
            lines.append(f"{len(reasons)} things to look over, see {listed}")
        if twins:
            lines.append(
                f"{twins} photos show the same picture as another: a leak if a split parts them "
                "(splits keep byte-equal ones together)"
            )
    return "\n".join(lines)


# --- photo by photo ---------------------------------------------------------------------------


def _import_entries(collection: Source, entries: list[Entry], to: Path, progress: bool) -> None:
    journal = to / JOURNAL
    known = _read_journal(journal)
    # Without the half line that a killed run may have left: the next one would be added to it.
    storage.write_text(journal, "".join(json.dumps(done) + "\n" for done in known.values()))
    to_look_over: list[tuple[str, str, Path | None]] = [
        (photo, reason, None) for photo, reason in collection.to_look_over
    ]
    rows: list[dict[str, Any]] = []
    first_with: dict[str, str] = {}  # photos by the hash of their pixels
    named = list(zip(entries, _names(collection, entries), strict=True))
    with open(journal, "a", encoding="utf-8") as lines:
        for entry, name in tqdm(named, desc="importing", unit="photo", disable=not progress):
            original = entry.file.relative_to(collection.folder).as_posix()
            key = _key(entry, name)
            done = known.get(key)
            if done is None or (done["rows"] and not (to / name).is_file()):
                done = {"key": key, **_import_one(entry, to, name)}
                lines.write(json.dumps(done) + "\n")
                lines.flush()
            if done["reason"]:
                to_look_over.append((original, done["reason"], entry.file))
            elif done["pixels"] in first_with:
                reason = f"{SAME_PICTURE} as {first_with[done['pixels']]}"
                to_look_over.append((original, reason, entry.file))
            else:
                first_with[done["pixels"]] = original
            rows += [{"photo": name, "session": entry.session, **row} for row in done["rows"]]
    write_look_over(to, to_look_over)
    if not rows:
        raise SourceError(f"{collection.folder}: no photo could be used; see {to / LOOK_OVER}")
    write_annotations(to, pd.DataFrame(rows))


def _key(entry: Entry, name: str) -> str:
    """What tells that an entry was imported already: its annotations, name and bytes."""
    try:
        bytes_hash = storage.bytes_hash(entry.file)
    except OSError as error:
        bytes_hash = str(error)
    faces = [[face.identity, face.box] for face in entry.faces]
    asked = {"photo": name, "entry": [entry.session, faces], "bytes": bytes_hash}
    return storage.text_hash(json.dumps(asked, sort_keys=True))


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError, KeyError):
                done = json.loads(line)
                known[done["key"]] = done
    return known


def _names(collection: Source, entries: list[Entry]) -> list[str]:
    """A path below the dataset's folder for each photo, no two alike."""
    names: list[str] = []
    taken: set[str] = set()
    for entry in entries:
        people = {face.identity for face in entry.faces}
        person = people.pop() if len(people) == 1 else ""
        parts = ["photos", _file_name(person or entry.file.parent.name)]
        parts += [_file_name(part) for part in entry.session.split("/") if part]
        plain = "/".join([*parts, _file_name(entry.file.stem)])
        name, number = f"{plain}.jpg", 2
        while name.casefold() in taken:  # 1.jpg beside 1.png, or on a disk that ignores case
            name, number = f"{plain}_{number}.jpg", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    return _NOT_IN_NAMES.sub("_", name).strip(" .") or "_"


def _import_one(entry: Entry, to: Path, name: str) -> dict[str, Any]:
    """Write one photo; returns its ``rows``, the hash of its ``pixels``, or the ``reason`` why not.

    A photo that is left out has no rows.
    """
    try:
        before = photo_size(entry.file)
        photo = read_photo(entry.file, SHORT_SIDE)
    except PhotoError as error:
        reason = str(error).replace(str(entry.file), entry.file.name)
        return _left_out(f"cannot be read: {reason}")
    height, width = photo.shape[:2]
    scale = np.array([width, height] * 2) / np.array([*before, *before])
    rows: list[dict[str, Any]] = []
    for face in entry.faces:
        if face.box is None:
            boxes, _ = detect_faces(photo, upsampling=1)
            if len(boxes) != 1:
                return _left_out(f"{len(boxes)} faces found")
            box, _ = _cut(boxes[0].astype(float), width, height)
        else:
            box, cut_off = _cut(np.asarray(face.box, dtype=float) * scale, width, height)
            if cut_off > MAX_OVERHANG:
                return _left_out(f"box {_shown(face.box)} lies outside the photo")
        x1, y1, x2, y2 = np.round(box, 1).tolist()
        if x1 < x2 and y1 < y2:  # a face of no size cannot be learned from
            rows.append(
                {
                    "identity": face.identity,
                    **dict(zip(BOX, (x1, y1, x2, y2), strict=True)),
                    "box_source": "detector" if face.box is None else "annotation",
                }
            )
    people = [row["identity"] for row in rows if row["identity"]]
    if len(set(people)) < len(people):
        return _left_out("the same person twice")
    with storage.atomic_write(to / name) as aside:
        Image.fromarray(photo).save(aside, quality=_QUALITY)
    rows = rows or [{"identity": "", **dict.fromkeys(BOX), "box_source": ""}]
    rows = [{**row, "width": width, "height": height} for row in rows]
    return {"rows": rows, "pixels": hashlib.sha256(photo.tobytes()).hexdigest(), "reason": ""}


def _left_out(reason: str) -> dict[str, Any]:
    return {"rows": [], "pixels": None, "reason": reason}


def _shown(box: Box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def _cut(box: np.ndarray, width: int, height: int) -> tuple[np.ndarray, float]:
    """A box cut at the photo's edges, and the largest share of a side that was cut off."""
    inside = np.clip(box, 0, [width, height, width, height])
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    if (box[2:] <= box[:2]).any():
        return inside, 1.0
    over = np.maximum(-box[:2], box[2:] - [width, height]).clip(min=0)
    return inside, float((over / sides).max())
