"""From photo collections, as :mod:`thesislib.data.sources` reads them, to datasets."""

import contextlib
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, photo_size, read_photo
from thesislib.data.importers.archives import _unpacked
from thesislib.data.importers.lfw import CENTRE, LFW_ENLARGED
from thesislib.data.importers.look_over import LOOK_OVER, write_looks
from thesislib.data.importers.source import SHORT_SIDE, Entry, Source, SourceError
from thesislib.data.importers.sources import SOURCES
from thesislib.data.schema import (
    ANNOTATIONS,
    MAX_OVERHANG,
    Dataset,
    DatasetError,
    read_dataset,
    write_annotations,
)

RECORD, JOURNAL = "import.json", "import.jsonl"
_QUALITY = 92
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


def import_photos(
    source: str,
    folder: Path | str,
    to: Path | str,
    identities: Path | None = None,
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
    with _unpacked(folder) as unpacked:
        collection = Source(unpacked)
        # Read before anything is written: a source that is not in its form leaves no trace.
        keyword = {"identities": identities} if source == "caltech_faces_1999" else {}
        entries = SOURCES[source](collection, **keyword)
        with storage.folder_lock(to):
            check_target(to, settings)
            storage.write_json(to / RECORD, settings)
            _bring_in(collection, entries, to, progress)
    return read_dataset(to)


def check_target(to: Path, settings: dict) -> None:
    record = to / RECORD
    if record.exists():
        if json.loads(record.read_text(encoding="utf-8")) != settings:
            raise DatasetError(f"{to}: made by another import ({record.name} there says which)")
    elif any((to / name).exists() for name in ("photos", ANNOTATIONS)):
        raise DatasetError(f"{to}: holds a dataset that was not imported; choose another folder")


def _bring_in(collection: Source, entries: list[Entry], to: Path, progress: bool) -> None:
    journal = to / JOURNAL
    known = _read_journal(journal)
    # Without the half line that a killed run may have left: the next one would be added to it.
    storage.write_text(journal, "".join(json.dumps(done) + "\n" for done in known.values()))
    names = _names(collection, entries)
    looks = [(photo, reason, None) for photo, reason in collection.to_look_over]
    rows, seen = [], {}
    with open(journal, "a", encoding="utf-8") as lines:
        for entry, name in tqdm(
            list(zip(entries, names, strict=True)),
            desc="importing",
            unit="photo",
            disable=not progress,
        ):
            original = entry.file.relative_to(collection.folder).as_posix()
            asked = {"photo": name, "entry": _as_json(entry), "bytes": _bytes(entry.file)}
            key = storage.text_hash(json.dumps(asked, sort_keys=True))
            done = known.get(key)
            if done is None or (done["rows"] and not (to / name).is_file()):
                done = {"key": key, **_import_one(entry, to, name)}
                lines.write(json.dumps(done) + "\n")
                lines.flush()
            if done["reason"]:
                looks.append((original, done["reason"], entry.file))
            elif done["pixels"] in seen:
                looks.append((original, f"same picture as {seen[done['pixels']]}", entry.file))
            else:
                seen[done["pixels"]] = original
            rows += [{"photo": name, "session": entry.session, **row} for row in done["rows"]]
    write_looks(to, looks)
    if not rows:
        raise SourceError(f"{collection.folder}: no photo could be used; see {to / LOOK_OVER}")
    write_annotations(to, pd.DataFrame(rows))


def _bytes(file: Path) -> str:
    try:
        return storage.bytes_hash(file)
    except OSError as error:
        return str(error)


def _as_json(entry: Entry) -> list:
    return [entry.session, [[face.identity, face.box] for face in entry.faces]]


def _read_journal(path: Path) -> dict[str, dict]:
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError, KeyError):
                done = json.loads(line)
                known[done["key"]] = done
    return known


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    return _NOT_IN_NAMES.sub("_", name).strip(" .") or "_"


def _names(collection: Source, entries: list[Entry]) -> list[str]:
    """A path below the dataset's folder for each photo, no two alike."""
    names, taken = [], set()
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


def _import_one(entry: Entry, to: Path, name: str) -> dict:
    """Write one photo; returns its rows, the hash of its pixels, or why it was left out."""
    left_out = {"rows": [], "pixels": None}
    try:
        before = photo_size(entry.file)
        photo = read_photo(entry.file, SHORT_SIDE)
    except PhotoError as error:
        reason = str(error).replace(str(entry.file), entry.file.name)
        return {**left_out, "reason": f"cannot be read: {reason}"}
    height, width = photo.shape[:2]
    rows = []
    for face in entry.faces:
        box, source = face.box, "annotation"
        if box is None:
            boxes, _ = detect_faces(photo, upsampling=1)
            if len(boxes) != 1:
                return {**left_out, "reason": f"{len(boxes)} faces found"}
            box, source = boxes[0].tolist(), "detector"
        elif box == CENTRE:
            w, h = width / LFW_ENLARGED / 2, height / LFW_ENLARGED / 2
            box = (width / 2 - w, height / 2 - h, width / 2 + w, height / 2 + h)
        else:
            box = np.asarray(box) * np.array([width, height] * 2) / np.array([*before, *before])
        box, cut = _within(np.asarray(box, dtype=float), width, height)
        if cut > MAX_OVERHANG and source == "annotation":
            return {**left_out, "reason": f"box {_shown(face.box)} lies outside the photo"}
        values = dict(zip(BOX, np.round(box, 1).tolist(), strict=True))
        rows.append({"identity": face.identity, **values, "box_source": source})
    # What makes a face of no size after rounding cannot be learned from.
    rows = [row for row in rows if row["x2"] > row["x1"] and row["y2"] > row["y1"]]
    people = [row["identity"] for row in rows if row["identity"]]
    if len(set(people)) < len(people):
        return {**left_out, "reason": "the same person twice"}
    with storage.atomic_write(to / name) as aside:
        Image.fromarray(photo).save(aside, quality=_QUALITY)
    rows = rows or [{"identity": "", **dict.fromkeys(BOX), "box_source": ""}]
    rows = [{**row, "width": width, "height": height} for row in rows]
    return {"rows": rows, "pixels": hashlib.sha256(photo.tobytes()).hexdigest(), "reason": ""}


def _shown(box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def _within(box: np.ndarray, width: int, height: int) -> tuple[np.ndarray, float]:
    """A box cut at the photo's edges, and the largest share of a side that was cut off."""
    inside = np.clip(box, 0, [width, height, width, height])
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    if (box[2:] <= box[:2]).any():
        return inside, 1.0
    over = np.maximum(-box[:2], box[2:] - [width, height]).clip(min=0)
    return inside, float((over / sides).max())


def summary(dataset: Dataset) -> str:
    """A line or two on what was imported."""
    table = dataset.table
    faces = table["x1"].notna()
    words = [
        f"{len(dataset.photos)} photos, {int(faces.sum())} faces, "
        f"{len(dataset.identities)} people in {dataset.folder}"
    ]
    if "box_source" in table and (table["box_source"] == "detector").any():
        words.append(f"{int((table['box_source'] == 'detector').sum())} boxes are the detector's")
    looks = dataset.folder / LOOK_OVER
    if looks.exists():
        listed = pd.read_csv(looks)
        twins = int(listed["reason"].str.startswith("same picture").sum())
        if len(listed):
            words.append(f"{len(listed)} things to look over, see {looks}")
        if twins:
            words.append(
                f"{twins} photos show the same picture as another: a leak if a split parts them "
                "(splits keep byte-equal ones together)"
            )
    return "\n".join(words)
