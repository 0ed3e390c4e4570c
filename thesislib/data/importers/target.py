"""The dataset folder that an import makes: what it may replace, and how.

A new dataset is made aside, in a hidden folder of the target, and takes the earlier one's place
when all of it is there. Whatever ends an import before that, the earlier dataset is as it was.
"""

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from thesislib import storage
from thesislib.data.schema import ANNOTATIONS, DatasetError, write_annotations

RECORD, JOURNAL = "import.json", "import.jsonl"
ASIDE = ".importing"  # in which a dataset is made
# What an import leaves beside the dataset: lists and pictures for people, and for the next import.
LOOK_OVER, LOOK_OVER_SHEET = "to_look_over.csv", "to_look_over.jpg"
PEOPLE_SHEET = "contact_sheet.jpg"
BESIDE = {RECORD, JOURNAL, LOOK_OVER, LOOK_OVER_SHEET, PEOPLE_SHEET}


def check_target(to: Path, settings: dict[str, Any]) -> list[str]:
    """Refuse a folder that holds anything but (part of) what an import of this source makes.

    A source that has changed is imported again, and so is one that was moved; another one is not.

    Args:
        to: dataset folder.
        settings: what an import is known by: ``source``, ``from`` (where it lies), ``files`` (a
            hash of what is in it), and whatever else must be the same.

    Returns:
        sentences about what of the source has changed since.

    Raises:
        DatasetError: another import's record lies there, a damaged one, or a dataset without one;
            or its table was edited since.
    """
    if to.exists() and not to.is_dir():
        raise DatasetError(f"{to}: is a file, and a dataset is a folder")
    record = to / RECORD
    if not record.exists():
        if any((to / name).exists() for name in ("photos", ANNOTATIONS)):
            raise DatasetError(
                f"{to}: holds a dataset that was not imported; choose another folder"
            )
        return []
    try:
        found = storage.read_record(record, "an import")
    except ValueError as error:
        raise DatasetError(str(error)) from None
    others = settings.keys() - {"from", "files"}
    same = all(found.get(name) == settings[name] for name in others)
    here = [settings["from"]]
    if "files" not in found:  # as earlier versions wrote it
        one = isinstance(here[0], str)
        here.append(Path(here[0]).name if one else [Path(folder).name for folder in here[0]])
    moved = found.get("files") is not None and found["files"] == settings["files"]
    if not same or not (moved or found.get("from") in here):
        raise DatasetError(
            f"{to}: made of {_told(found.get('from'))} as {found.get('source')}, not of "
            f"{_told(settings['from'])} as {settings['source']}; choose another folder, and bring "
            "both together with `python -m thesislib data merge`"
        )
    table = to / ANNOTATIONS
    if "table" in found and table.exists() and storage.bytes_hash(table) != found["table"]:
        raise DatasetError(
            f"{table}: was edited since the import, which would replace it; use the dataset as it "
            f"is (make figures DATA={to}), choose another folder, or take the table away"
        )
    told = []
    if found.get("from") not in here:
        told.append(f"the source has moved: it was imported from {_told(found.get('from'))}")
    if found.get("files") is not None and not moved:
        told.append(
            "the source has changed since it was last imported; photos it has no more are deleted"
        )
    return told


def _told(source: Any) -> str:
    return " and ".join(source) if isinstance(source, list) else str(source)


def take_over(file: Path, to: Path) -> None:
    """Have a file at another place too, without copying it where the disk can."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    try:
        os.link(file, to)
    except OSError:
        with storage.atomic_write(to) as aside:
            shutil.copyfile(file, aside)


def replace(to: Path, table: pd.DataFrame, mine: Collection[str], record: dict[str, Any]) -> None:
    """Put the photos that were made aside, and their table, in the place of earlier ones.

    Where nothing has changed, files stay as they are.

    Args:
        to: dataset folder, whose lock is held.
        table: of the photos in ``to / ASIDE``.
        mine: photos that this import or an earlier one made; those not in ``table`` are deleted,
            and files that somebody else put among them stay.
        record: what is written down about the import.
    """
    aside, wanted = to / ASIDE, set(table["photo"])
    write_annotations(aside, table)
    if _is_same(to, wanted):
        storage.write_json(to / RECORD, record | {"table": storage.bytes_hash(to / ANNOTATIONS)})
        shutil.rmtree(aside, ignore_errors=True)
        return
    for file in _files(aside):
        if (name := file.relative_to(aside).as_posix()) not in wanted and name in mine:
            file.unlink()
    for file in _files(to / "photos"):
        name = file.relative_to(to).as_posix()
        if name not in wanted and name not in mine:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, aside / name)
    # From here on the table tells nothing until it is written again: an import that is killed now
    # leaves a folder that says so.
    (to / ANNOTATIONS).unlink(missing_ok=True)
    storage.write_json(to / RECORD, record)
    shutil.rmtree(aside / "earlier", ignore_errors=True)  # of an import that was killed here
    if (to / "photos").exists():
        os.replace(to / "photos", aside / "earlier")
    os.replace(aside / "photos", to / "photos")
    os.replace(aside / ANNOTATIONS, to / ANNOTATIONS)
    storage.write_json(to / RECORD, record | {"table": storage.bytes_hash(to / ANNOTATIONS)})
    shutil.rmtree(aside, ignore_errors=True)
    for folder in sorted((to / "photos").rglob("*"), reverse=True):
        if folder.is_dir():
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _is_same(to: Path, photos: Collection[str]) -> bool:
    """Whether the table aside is the one that is there, and so are all photos, as links to them."""
    aside, table = to / ASIDE, to / ANNOTATIONS
    if not table.exists() or table.read_bytes() != (aside / ANNOTATIONS).read_bytes():
        return False
    return all((to / photo).is_file() and (aside / photo).samefile(to / photo) for photo in photos)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
