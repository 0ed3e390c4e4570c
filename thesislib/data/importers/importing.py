"""From photo collections in their own forms to datasets."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from thesislib import storage
from thesislib.data.importers.archives import unpacked
from thesislib.data.importers.caltech_faces_1999 import caltech_faces_1999
from thesislib.data.importers.celeba import celeba
from thesislib.data.importers.coco import coco
from thesislib.data.importers.converting import convert, printable
from thesislib.data.importers.cvat import cvat
from thesislib.data.importers.fei import fei
from thesislib.data.importers.folder import folder as one_folder_per_person
from thesislib.data.importers.georgia_tech import georgia_tech
from thesislib.data.importers.labelme import labelme
from thesislib.data.importers.labels import LabelsAre
from thesislib.data.importers.lfw import lfw
from thesislib.data.importers.look_over import SAME_PICTURE, write_look_over, write_people
from thesislib.data.importers.pascal_voc import pascal_voc
from thesislib.data.importers.reading import (
    Allowed,
    Detector,
    Reading,
    told_people,
    told_reasons,
)
from thesislib.data.importers.source import SHORT_SIDE, Entry, Source, SourceError
from thesislib.data.importers.target import LOOK_OVER, PEOPLE_SHEET, RECORD, check_target
from thesislib.data.importers.via import via
from thesislib.data.importers.wider_face import wider_face
from thesislib.data.importers.xmp import xmp
from thesislib.data.importers.yolo import yolo
from thesislib.data.schema import (
    ANNOTATIONS,
    Dataset,
    DatasetError,
    read_dataset,
)

SOURCES: dict[str, Callable[..., list[Entry]]] = {
    "georgia_tech": georgia_tech,
    "caltech_faces_1999": caltech_faces_1999,
    "fei": fei,
    "lfw": lfw,
    "celeba": celeba,
    "wider_face": wider_face,
    "coco": coco,
    "yolo": yolo,
    "pascal_voc": pascal_voc,
    "labelme": labelme,
    "cvat": cvat,
    "via": via,
    "xmp": xmp,
    "folder": one_folder_per_person,
}
# What of a source only its importer takes.
_OPTIONS = {
    "identities": {"caltech_faces_1999"},
    "labels_are": {"coco", "yolo", "pascal_voc", "labelme", "cvat", "via"},
}


def import_folder(
    folder: Path | str,
    to: Path | str,
    progress: bool = True,
    *,
    min_photos: int = 1,
    allow: Sequence[Allowed] = (),
) -> Dataset:
    """Bring a folder with one folder of photos per person into the dataset form.

    ``anna/1.jpg`` is a photo of ``anna``; folders in a person's are sittings, ``anna/may/1.jpg``.
    Boxes are dlib's; see :func:`import_photos`.

    Args:
        folder: the photos, or a zip or tar archive of them; never written to.
        to: dataset folder.
        progress: show a bar.
        min_photos, allow: see :func:`import_photos`.

    Returns:
        the dataset, checked.

    Raises:
        SourceError, DatasetError, storage.FolderInUseError: see :func:`import_photos`.
    """
    return import_photos(
        "folder", folder, to, progress=progress, min_photos=min_photos, allow=allow
    )


def import_photos(
    source: str,
    folder: Path | str,
    to: Path | str,
    identities: Path | str | None = None,
    progress: bool = True,
    *,
    labels_are: LabelsAre | None = None,
    encoding: str | None = None,
    min_photos: int = 1,
    allow: Sequence[Allowed] = (),
    detect: Detector | None = None,
) -> Dataset:
    """Bring a photo collection into the dataset form.

    Photos are turned upright, scaled to at most ``SHORT_SIDE`` pixels on the shorter side and
    written as JPEG; boxes are scaled along. Where the source has no box, it is dlib's, if it
    finds exactly one face (``box_source`` says which). What is left out or doubtful is listed in
    ``to_look_over.csv``, and shown in ``to_look_over.jpg``. Interrupted, the same call goes on
    where it stopped; repeated, it gives the same bytes. Photos of an earlier import that the source
    has no more are deleted.

    Args:
        source: a name in ``SOURCES``.
        folder: the source's folder, or a zip or tar archive of it; never written to.
        to: dataset folder.
        identities: who is who, for a source that does not say (see its docstring).
        progress: show a bar.
        labels_are: what the labels of boxes are, for a source whose labels do not tell, see
            :func:`thesislib.data.importers.labels.kinds_of`.
        encoding: code page of names that are not UTF-8, where it cannot be told from them.
        min_photos: people with fewer photos are left out.
        allow: readings that are otherwise refused, of
            :data:`thesislib.data.importers.reading.Allowed`.
        detect: a second detector, from a photo uint8 [H, W, 3] to boxes [D, 4]: a sample of the
            source's boxes is checked by it, and a photo in which dlib finds one face and it another
            one is left out, as it may be of somebody else. None for dlib's in the sample alone.

    Returns:
        the dataset, checked.

    Raises:
        SourceError: the source is not in its form, or its reading is one of those that ``allow``
            names; an archive is damaged or unsafe; no photo, or one person alone, is left.
        DatasetError: ``to`` holds something else.
        storage.FolderInUseError: another run is writing to ``to``.
        MissingExtraError: a box is wanted and dlib is not installed.
    """
    if isinstance(allow, str) or not set(allow) <= set(get_args(Allowed)):
        raise SourceError(f"allow: expected some of {', '.join(get_args(Allowed))}, got {allow!r}")
    to = Path(to)
    with reading_of(source, folder, encoding, min_photos, identities, labels_are) as reading:
        _check_apart(to, reading)
        settings = _settings(source, Path(folder), reading)
        reading.source.said += check_target(to, settings)
        # Before anything is written: a source that is not read rightly leaves no trace.
        reading.check(allow, detect)
        with storage.folder_lock(to):
            check_target(to, settings)
            convert(reading, to, settings, allow, detect, progress)
    return read_dataset(to)


def dry_run(reading: Reading, to: Path | str) -> None:
    """Write what of a source is to be looked over, and a sheet of its people, and no dataset.

    Args:
        reading: of the source.
        to: folder, of no other dataset.

    Raises:
        SourceError: ``to`` lies within the source.
        DatasetError: it holds a dataset.
    """
    to = Path(to)
    _check_apart(to, reading)
    if (to / ANNOTATIONS).exists():
        raise DatasetError(f"{to}: holds a dataset; choose another folder for a dry run")
    write_look_over(to, [(photo, reason, None) for photo, reason in reading.source.to_look_over])
    write_people(to, reading.one_photo_each())


@contextlib.contextmanager
def reading_of(
    source: str,
    folder: Path | str,
    encoding: str | None = None,
    min_photos: int = 1,
    identities: Path | str | None = None,
    labels_are: LabelsAre | None = None,
) -> Iterator[Reading]:
    """How a source is read, before any photo is.

    Args:
        source, folder, encoding, min_photos, identities, labels_are: see :func:`import_photos`.

    Raises:
        SourceError: the source is not in its form; an archive is damaged or unsafe; an option that
            this source does not take.
    """
    if source not in SOURCES:
        raise SourceError(f"source {source!r} is unknown; choose one of {', '.join(SOURCES)}")
    if labels_are not in (None, *get_args(LabelsAre)):
        raise SourceError(f"labels_are: expected people or faces, got {labels_are!r}")
    if not str(folder):
        raise SourceError("folder: none given")
    folder = Path(folder)
    if not folder.exists():
        raise SourceError(f"{folder}: no such folder or archive")
    options = {"identities": identities, "labels_are": labels_are}
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if source not in _OPTIONS[name]:
            raise SourceError(f"{name} is not for {source}")
    said: list[str] = []
    with unpacked(folder, said, encoding) as unpacked_folder:
        collection = Source(unpacked_folder, encoding, said=said)
        try:
            entries = SOURCES[source](collection, **given)
        except SourceError as error:  # whose file is no more when it is read
            told = str(error).replace(str(unpacked_folder), str(folder))
            raise SourceError(told) from None
        collection.note_passed_over(entries)
        yield Reading(collection, entries, min_photos)


def _check_apart(to: Path, reading: Reading) -> None:
    if to.resolve().is_relative_to(reading.source.folder.resolve()):
        raise SourceError(f"{to}: lies within the source, which is never written to")


def _settings(source: str, folder: Path, reading: Reading) -> dict[str, Any]:
    """What an import is known by: the source, where it lies, and what is in it.

    Of the files names and sizes are told, and the content of a few: photos of a scanner are all of
    one size.
    """
    files = reading.source.all_files
    told = [[reading.source.shown(file), file.stat().st_size] for file in files]
    some = [files[at] for at in range(0, len(files), max(1, len(files) // 20))]
    hashes = [storage.bytes_hash(file) for file in some if os.access(file, os.R_OK)]
    return {
        "source": source,
        "from": printable(str(folder.resolve())),
        "files": storage.text_hash(json.dumps([told, hashes])),
        "short_side": SHORT_SIDE,
    }


def summary(dataset: Dataset) -> str:
    """What is in a dataset, how its source was read, and what is to be looked over, for people."""
    table = dataset.table
    faces = table[table["x1"].notna()]
    named = faces[faces["identity"] != ""]
    sittings = named.loc[named["session"] != "", ["identity", "session"]].drop_duplicates()
    detected = int((faces["box_source"] == "detector").sum()) if "box_source" in faces else 0
    people = Counter(named["identity"].tolist())
    without = len(dataset.photos) - faces["photo"].nunique()
    lines = told_people(len(dataset.photos), without, len(faces), people, len(sittings), detected)
    lines[0] += f" in {dataset.folder}"
    record = dataset.folder / RECORD
    if record.exists():
        lines += storage.read_record(record, "an import").get("said", [])
    listed = dataset.folder / LOOK_OVER
    if listed.exists():
        reasons = pd.read_csv(listed, dtype=str, keep_default_na=False)["reason"].tolist()
        twins = sum(reason.startswith(SAME_PICTURE) for reason in reasons)
        lines += told_reasons([r for r in reasons if not r.startswith(SAME_PICTURE)])
        if twins:
            lines.append(
                f"{twins} photos show the same picture as another: a leak if a split parts them "
                "(splits keep byte-equal ones together)"
            )
        if reasons:
            lines.append(f"{len(reasons)} things to look over: {listed}")
    sheet = dataset.folder / PEOPLE_SHEET
    if sheet.exists():
        lines.append(f"a photo of each person: {sheet}")
    return "\n".join(lines)
