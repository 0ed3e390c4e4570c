"""Photos of a source converted one by one into a dataset's; interrupted, it goes on."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, photo_size, read_photo
from thesislib.data.importers.look_over import SAME_PICTURE, write_look_over, write_people
from thesislib.data.importers.reading import (
    Allowed,
    Detector,
    Reading,
    annotated_boxes,
    of_people_with_few,
    told_few,
)
from thesislib.data.importers.source import SHORT_SIDE, Entry, Source, SourceError
from thesislib.data.importers.target import ASIDE, JOURNAL, LOOK_OVER, replace, take_over
from thesislib.data.names import short_name, told_names
from thesislib.data.schema import MAX_OVERHANG

_DONE = {"key", "name", "rows", "pixels", "written", "reason", "notes"}  # of a journal's line
_QUALITY = 92  # of the JPEGs written
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


def convert(
    reading: Reading,
    to: Path,
    settings: dict[str, Any],
    allow: Sequence[Allowed],
    detect: Detector | None,
    progress: bool,
) -> None:
    """Make a source's photos and table into the dataset of a folder whose lock is held.

    What was written before the last line of the journal is not done again.

    Args:
        reading: of the source.
        to: dataset folder.
        settings: what the import is known by.
        allow, detect, progress: see :func:`thesislib.data.importers.importing.import_photos`.

    Raises:
        SourceError: no photo, or one person alone, is left; an earlier dataset is as it was then.
        MissingExtraError: a box is wanted and dlib is not installed.
    """
    collection, journal, aside = reading.source, to / JOURNAL, to / ASIDE
    known = _read_journal(journal)
    mine = {done["name"] for done in known.values()}
    # Without the half line that a killed run may have left: the next one would be added to it.
    _write_journal(journal, known.values())
    to_look_over: list[tuple[str, str, Path | None]] = [
        (photo, reason, None) for photo, reason in collection.to_look_over
    ]
    made: list[tuple[Entry, list[dict[str, Any]]]] = []  # photos that can be used, with their rows
    first_with: dict[str, str] = {}  # photos by the hash of their pixels
    used = []
    named = list(zip(reading.entries, _names(collection, reading.entries), strict=True))
    with open(journal, "a", encoding="utf-8") as lines:
        for entry, name in tqdm(named, desc="importing", unit="photo", disable=not progress):
            original = collection.shown(entry.file)
            key = _key(entry, name)
            done = known.get(key)
            if done is None or not _is_there(done, to):
                done = {"key": key, "name": name, **_convert_one(entry, aside, name, detect)}
                lines.write(json.dumps(done) + "\n")
                lines.flush()
            used.append(done)
            to_look_over += [(original, note, entry.file) for note in done["notes"]]
            if done["reason"]:
                to_look_over.append((original, done["reason"], entry.file))
                continue
            rows = [{"photo": name, "session": entry.session, **row} for row in done["rows"]]
            made.append((entry, rows))
            if done["pixels"] in first_with:
                reason = f"{SAME_PICTURE} as {first_with[done['pixels']]}"
                to_look_over.append((original, reason, entry.file))
            else:
                first_with[done["pixels"]] = original
    people = [{row["identity"] for row in rows} - {""} for _, rows in made]
    out = of_people_with_few(people, reading.min_photos)
    to_look_over += [
        (collection.shown(made[at][0].file), told_few(reading.min_photos), made[at][0].file)
        for at in sorted(out)
    ]
    rows = [row for at, (_, rows) in enumerate(made) if at not in out for row in rows]
    write_look_over(to, to_look_over)
    if not rows:
        raise SourceError(f"{collection.folder}: no photo could be used; see {to / LOOK_OVER}")
    left = {row["identity"] for row in rows} - {""}
    gone = {face.identity for entry in reading.entries for face in entry.faces} - left - {""}
    if gone:
        collection.said.append(f"no photo is left of {told_names(sorted(gone))}")
    try:
        reading.check_people(left, allow)
    except SourceError as error:
        raise SourceError(f"{error}; {'; '.join(collection.said)}; see {to / LOOK_OVER}") from None
    table = pd.DataFrame(rows)
    mine |= {done["name"] for done in used}
    replace(to, table, mine, settings | {"said": collection.said})
    _write_journal(journal, used)
    write_people(to, _one_photo_each(to, table))


def _is_there(done: dict[str, Any], to: Path) -> bool:
    """Whether a photo lies aside as it was written, or did so in the earlier dataset."""
    if not done["rows"]:
        return True
    aside, earlier = to / ASIDE / done["name"], to / done["name"]
    for file in (aside, earlier):
        if file.is_file() and storage.bytes_hash(file) == done["written"]:
            if file is earlier:
                take_over(earlier, aside)
            return True
    return False


def _one_photo_each(to: Path, table: pd.DataFrame) -> list[tuple[Path, str, NDArray, Any]]:
    """The first photo of each person; where nobody is named, every photo's first face."""
    boxed = table[table["x1"].notna()]
    by = "identity" if (boxed["identity"] != "").any() else "photo"
    return [
        (
            to / face.photo,
            face.identity,
            np.array([[face.x1, face.y1, face.x2, face.y2]]),
            (face.width, face.height),
        )
        for face in boxed.drop_duplicates(by).itertuples()
    ]


def _key(entry: Entry, name: str) -> str:
    """What tells that an entry was imported already: its annotations, name and bytes."""
    try:
        bytes_hash = storage.bytes_hash(entry.file)
    except OSError as error:
        bytes_hash = str(error)
    faces = [[face.identity, face.box] for face in entry.faces]
    asked = {
        "photo": name,
        "entry": [entry.session, faces, entry.size, entry.stored],
        "bytes": bytes_hash,
    }
    return storage.text_hash(json.dumps(asked, sort_keys=True))


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """What was done, by its key; lines that a killed run or somebody else broke are left out."""
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                done = json.loads(line)
                if done.keys() == _DONE:
                    known[done["key"]] = done
            except (json.JSONDecodeError, AttributeError, TypeError):
                continue
    return known


def _write_journal(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    storage.write_text(path, "".join(json.dumps(done) + "\n" for done in lines))


def _names(collection: Source, entries: list[Entry]) -> list[str]:
    """A path below the dataset's folder for each photo, no two alike."""
    names: list[str] = []
    taken: set[str] = set()
    for entry in entries:
        people = {face.identity for face in entry.faces}
        person = people.pop() if len(people) == 1 else ""
        parts = ["photos", _file_name(person or collection.name(entry.file.parent.name))]
        parts += [_file_name(part) for part in entry.session.split("/") if part]
        # A folder of this name would stand in the way of a photo.
        parts = [f"{part}_" if part.casefold().endswith(".jpg") else part for part in parts]
        plain = "/".join([*parts, _file_name(collection.name(entry.file.stem))])
        name, number = f"{plain}.jpg", 2
        while name.casefold() in taken:  # 1.jpg beside 1.png, or on a disk that ignores case
            name, number = f"{plain}_{number}.jpg", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    plain = _NOT_IN_NAMES.sub("_", name).strip(" .") or "_"
    return short_name(f"{plain}_" if _RESERVED.fullmatch(plain) else plain)


def _convert_one(entry: Entry, to: Path, name: str, detect: Detector | None) -> dict[str, Any]:
    """Write one photo; returns its ``rows``, the hash of its ``pixels``, or the ``reason`` why not,
    and ``notes``, what had to be guessed.

    A photo that is left out has no rows.
    """
    notes: list[str] = []
    try:
        before = photo_size(entry.file)
        photo = read_photo(entry.file, SHORT_SIDE, notes)
        annotated = annotated_boxes(entry, before)
    except PhotoError as error:
        return _left_out(f"{printable(str(error).removeprefix(f'{entry.file}: '))}: left out")
    if annotated is None:
        told, found = (" x ".join(map(str, size)) for size in (entry.size or (), before))
        return _left_out(f"boxes are of a photo of {told} pixels, this one has {found}: left out")
    height, width = photo.shape[:2]
    scale = np.array([width, height] * 2) / np.array([*before, *before])
    boxes = iter(annotated)
    rows: list[dict[str, Any]] = []
    for face in entry.faces:
        if face.box is None:
            detected, _ = detect_faces(photo, upsampling=1)
            if len(detected) != 1:
                return _left_out(f"{len(detected)} faces found: left out")
            if detect is not None and _has_another(detect(photo), detected[0]):
                return _left_out("a second face, and it is not known whose the first is: left out")
            box, _ = _cut(detected[0].astype(float), width, height)
        else:
            drawn = next(boxes) * scale
            if (np.round(drawn[2:], 1) <= np.round(drawn[:2], 1)).any():
                notes.append(f"box {_shown(face.box)} has no size: left out")
                continue
            box, cut_off = _cut(drawn, width, height)
            if cut_off > MAX_OVERHANG:
                return _left_out(f"box {_shown(face.box)} lies outside the photo: left out")
        corners = tuple(np.round(box, 1).tolist())
        earlier = next((row for row in rows if tuple(row[side] for side in BOX) == corners), None)
        if earlier is None:
            source = "detector" if face.box is None else "annotation"
            new = dict(zip(BOX, corners, strict=True))
            rows.append({"identity": face.identity, **new, "box_source": source})
        elif face.identity in ("", earlier["identity"]):
            notes.append("a box twice: taken once")
        elif earlier["identity"] == "":
            earlier["identity"] = face.identity
            notes.append("a box twice: taken once")
        else:
            return _left_out(
                f"one box of two people, {earlier['identity']} and {face.identity}: left out"
            )
    if entry.faces and not rows:
        return _left_out("; ".join(dict.fromkeys(notes)))
    people = [row["identity"] for row in rows if row["identity"]]
    if len(set(people)) < len(people):
        return _left_out("the same person twice: left out")
    with storage.atomic_write(to / name) as aside:
        Image.fromarray(photo).save(aside, quality=_QUALITY)
    rows = rows or [{"identity": "", **dict.fromkeys(BOX), "box_source": ""}]
    rows = [{**row, "width": width, "height": height} for row in rows]
    pixels = hashlib.sha256(photo.tobytes()).hexdigest()
    written = storage.bytes_hash(to / name)
    return {"rows": rows, "pixels": pixels, "written": written, "reason": "", "notes": notes}


def _has_another(found: NDArray, box: NDArray) -> bool:
    """Whether a face beside this one is large enough to be the one that the photo is of."""
    sides = np.clip(found[:, 2:] - found[:, :2], 0, None)
    shared = np.minimum(found[:, 2:], box[2:]) - np.maximum(found[:, :2], box[:2])
    apart = (shared <= 0).any(axis=1)
    return bool((apart & (np.prod(sides, axis=1) > np.prod(box[2:] - box[:2]) / 4)).any())


def _left_out(reason: str) -> dict[str, Any]:
    return {"rows": [], "pixels": None, "written": None, "reason": reason, "notes": []}


def printable(text: str) -> str:
    """A text whose surrogates, of names that are not UTF-8, are written out."""
    return text.encode(errors="backslashreplace").decode()


def _shown(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def _cut(box: np.ndarray, width: int, height: int) -> tuple[np.ndarray, float]:
    """A box cut at the photo's edges, and the largest share of a side that was cut off."""
    inside = np.clip(box, 0, [width, height, width, height])
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    if (box[2:] <= box[:2]).any():
        return inside, 1.0
    over = np.maximum(-box[:2], box[2:] - [width, height]).clip(min=0)
    return inside, float((over / sides).max())
