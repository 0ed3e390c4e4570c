"""The form of a dataset on disk, and its checks.

A dataset is a folder with ``photos/`` and ``annotations.csv``, one row per face::

    photo,identity,session,width,height,x1,y1,x2,y2
    photos/anna/1.jpg,anna,,480,320,110.0,60.5,240.0,230.0

``photo`` is a path relative to the folder; ``width`` and ``height`` are the photo's, upright;
``x1, y1, x2, y2`` are pixels, x to the right and y down. Several rows with one photo are several
faces. An empty ``identity`` is a person nobody knows; a row without a box is a photo without a
face; ``session`` names a sitting (a day, a video clip) and may be empty. Names are text, whatever
they look like: ``001`` and ``NA`` are people.

A table may have further columns, whose values may be empty: the five landmarks of ``LANDMARKS`` in
pixels, all or none; ``box_source``, one of ``BOX_SOURCES``, where boxes were not all drawn by
hand; and numbers whose name begins with ``factor_``, what is known of how a photo came about.
"""

import csv
import dataclasses
import functools
import io
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pandera.pandas as pa

from thesislib import storage
from thesislib.data.columns import BOX, FACTOR, LANDMARKS
from thesislib.data.images import PhotoError, photo_size
from thesislib.data.names import plain_name

ANNOTATIONS = "annotations.csv"
COLUMNS = ["photo", "identity", "session", "width", "height", *BOX]
_TEXT = {"photo", "identity", "session", "box_source"}
BOX_SOURCES = ("annotation", "detector")
# What a set of synthetic people was made with; lies in its folder.
SYNTHETIC_RECORD = "synthetic.json"
_SYNTHETIC_PORTRAIT = re.compile(r"photos/p(\d{4,})/s\d+_\d{2,}\.jpg")
_SYNTHETIC_SCENE = re.compile(r"photos/scene_\d{5,}\.jpg")
_FACTOR_NAME = re.compile(FACTOR + "[a-z0-9_]+")
# A face at the photo's edge is often annotated past it. Up to this share of the box's own side is
# cut off at the edge; a box further out is a mistake.
MAX_OVERHANG = 0.15


class DatasetError(ValueError):
    """A dataset that breaks the form; the message names the file and the row."""


_SCHEMA = pa.DataFrameSchema(
    {
        "photo": pa.Column(str, pa.Check.str_length(min_value=1)),
        "identity": pa.Column(str),
        "session": pa.Column(str),
        "width": pa.Column(int, pa.Check.ge(1)),
        "height": pa.Column(int, pa.Check.ge(1)),
        **{name: pa.Column(float, nullable=True) for name in BOX},
        **{name: pa.Column(float, nullable=True, required=False) for name in LANDMARKS},
        "box_source": pa.Column(str, pa.Check.isin(["", *BOX_SOURCES]), required=False),
        f"^{_FACTOR_NAME.pattern}$": pa.Column(float, nullable=True, required=False, regex=True),
    },
    strict=True,
    ordered=False,
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A checked dataset.

    Attributes:
        folder: where it lies.
        table: one row per face, columns ``COLUMNS`` and whatever further ones the file has; boxes
            float, within the photo; row order as in the file.
    """

    folder: Path
    table: pd.DataFrame

    def __repr__(self) -> str:
        faces = int(self.table["x1"].notna().sum())
        return (
            f"Dataset({self.name!r}: {len(self.photos)} photos, {faces} faces, "
            f"{len(self.identities)} identities)"
        )

    @property
    def name(self) -> str:
        """The folder's name, which tables and figures carry."""
        return self.folder.name

    @property
    def photos(self) -> list[str]:
        """Each photo once, in file order."""
        return list(dict.fromkeys(self.table["photo"]))

    @property
    def identities(self) -> list[str]:
        """Known people in alphabetical order; unknown (empty) left out."""
        return sorted(set(self.table["identity"]) - {""})

    @functools.cached_property
    def private(self) -> bool:
        """Whether its photos may show real people, so that pictures of them are not published.

        False only where the generator of synthetic people made the folder: its record lies there,
        and every photo in the table is one that the record tells of.
        """
        try:
            record = json.loads((self.folder / SYNTHETIC_RECORD).read_text(encoding="utf-8"))
            first, people, photos = (record[k] for k in ("first_identity", "people", "photos"))
            return len(self.photos) > photos or not all(
                _is_synthetic(photo, range(first, first + people)) for photo in self.photos
            )
        except (OSError, ValueError, KeyError, TypeError):
            return True

    @functools.cached_property
    def photo_hashes(self) -> dict[str, str]:
        """SHA-256 of each photo's bytes."""
        return {photo: storage.bytes_hash(self.folder / photo) for photo in self.photos}

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 over the photos' bytes and the table, whether as read or changed in memory."""
        photos = storage.content_hash([self.folder / photo for photo in self.photos], self.folder)
        return storage.text_hash(photos + self.table.to_csv(index=False))


def _is_synthetic(photo: str, people: range) -> bool:
    portrait = _SYNTHETIC_PORTRAIT.fullmatch(photo)
    if portrait is None:
        return _SYNTHETIC_SCENE.fullmatch(photo) is not None
    return int(portrait[1]) in people


def read_dataset(folder: Path | str) -> Dataset:
    """Read and check a dataset folder.

    Args:
        folder: holds ``annotations.csv`` and the photos that it names.

    Raises:
        DatasetError: no such folder or table, a missing or extra column, a value of the wrong
            type, a box inverted or outside its photo, a face listed twice, a photo missing,
            unreadable, or of another size than the table says, no faces at all. The message
            names the file and row (the header is row 1).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: no such folder; a dataset of synthetic people is made by "
            f"`python -m thesislib data synthetic quick --to {shlex.quote(str(folder))}`, "
            "one of your photos as data/README.md says"
        )
    table = read_annotations(folder)
    _check_photos(folder, folder / ANNOTATIONS, table)
    return Dataset(folder.resolve(), table)


def check_dataset(dataset: object) -> None:
    """Refuse what is no dataset, the name of its folder among it.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(dataset, Dataset):
        told = "dataset: expected a Dataset, as tl.read_dataset(...) gives"
        raise TypeError(f"{told}, got {dataset!r:.80}")


def check_named(dataset: Dataset) -> None:
    """Refuse a dataset from which no names can be learned, before anything is trained.

    Raises:
        DatasetError: nobody in it is named, or one person alone; the message says what can be done
            with it.
    """
    people = dataset.identities
    if len(people) > 1:
        return
    folder = shlex.quote(str(dataset.folder))
    by_hand = f"the column identity of {ANNOTATIONS}, or thesislib.widgets.annotator.Annotator"
    if people:
        raise DatasetError(
            f"{dataset.folder}: only {people[0]!r} is named in it, and a net that knows one name "
            f"gives it to every face; name others too ({by_hand}), or look for {people[0]!r} with "
            f"a gallery (`python -m thesislib enrol-dataset --data {folder} --gallery "
            "<name>.safetensors`)"
        )
    raise DatasetError(
        f"{dataset.folder}: nobody in it is named, so no name can be learned; it can tell how well "
        f"a net finds faces (`python -m thesislib evaluate --data {folder}`), teach one to find "
        f"them (`python -m thesislib distil --photos <portraits> --scenes {folder} --out "
        f"<folder>`), or be named by hand ({by_hand})"
    )


def read_annotations(folder: Path | str) -> pd.DataFrame:
    """Read and check ``annotations.csv`` alone, without a look at the photos.

    Raises:
        DatasetError: see :func:`read_dataset`.
    """
    path = Path(folder) / ANNOTATIONS
    if not path.is_file():
        raise DatasetError(f"{folder}: no {ANNOTATIONS} in it; see data/README.md for the form")
    table = _typed(path, _read_text(path))
    check_rows(path, table)
    return table


def _may_be_added(column: str) -> bool:
    return column in (*LANDMARKS, "box_source") or bool(_FACTOR_NAME.fullmatch(column))


def _read_text(path: Path) -> pd.DataFrame:
    """The table with every value as text, its columns and fields counted."""
    try:
        # As text, so that names stay names and a bad number is reported with its row. Blank lines
        # are kept, so that rows are counted as an editor counts lines.
        text = path.read_text(encoding="utf-8-sig").rstrip()
        raw = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error})") from None
    if not isinstance(raw.index, pd.RangeIndex):  # pandas took surplus fields for row names
        raise DatasetError(f"{path}, row 2: more fields than row 1 has columns")
    # pandas fills up a row that was cut off; without its box it would read as a faceless photo.
    for row, fields in enumerate(csv.reader(io.StringIO(text)), start=1):
        if 0 < len(fields) < len(raw.columns):
            raise DatasetError(f"{path}, row {row}: fewer fields than row 1 has columns")
    missing = [name for name in COLUMNS if name not in raw.columns]
    further = [name for name in raw.columns if name not in COLUMNS]
    extra = [name for name in further if not _may_be_added(name)]
    if any(name in further for name in LANDMARKS):
        missing += [name for name in LANDMARKS if name not in further]
    if missing or extra:
        told = [f"missing column {name!r}" for name in missing]
        told += [f"extra column {name!r}" for name in extra]
        raise DatasetError(f"{path}, row 1: {', '.join(told)}; expected {', '.join(COLUMNS)}")
    if raw.empty:
        raise DatasetError(f"{path}: no rows")
    return raw[[*COLUMNS, *further]].copy()


def _typed(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with names of people and sessions in one form and numbers as numbers."""
    for name in table:
        if name in ("identity", "session"):
            once = {text: plain_name(text) for text in table[name].unique()}
            table[name] = table[name].map(once).astype(str)
            continue
        if name in _TEXT:
            table[name] = table[name].str.strip()
            continue
        whole = name in ("width", "height")  # a size is never empty and has no fraction
        numbers = pd.to_numeric(table[name].replace("", "nan"), errors="coerce")
        wrong = numbers.isna() & (whole | (table[name] != "")) | np.isinf(numbers)
        if whole:
            wrong |= numbers % 1 != 0
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DatasetError(f"{path}, row {at + 2}: {name} is {table[name][at]!r}, no number")
        table[name] = numbers.astype(int if whole else float)
    try:
        return _SCHEMA.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        row = "" if pd.isna(first["index"]) else f", row {int(first['index']) + 2}"
        raise DatasetError(
            f"{path}{row}: {first['column']} is {first['failure_case']!r}, fails {first['check']}"
        ) from None


def check_rows(path: Path, table: pd.DataFrame) -> None:
    """Check all that can be told without the photos, and cut boxes that hang over slightly.

    Args:
        path: of the table's file, for messages.
        table: as :func:`read_annotations` returns it; changed in place where boxes are cut.

    Raises:
        DatasetError: see :func:`read_dataset`.
    """
    boxes = table[BOX].to_numpy(copy=True)
    sizes = table[["width", "height"]].to_numpy()
    unboxed = np.isnan(boxes).all(axis=1)
    landmarks = table[[name for name in LANDMARKS if name in table]].isna()
    some_landmarks = (landmarks.any(axis=1) & ~landmarks.all(axis=1)).to_numpy()
    seen: dict[tuple[object, ...], int] = {}
    empty_photos: dict[str, int] = {}
    size_of: dict[str, tuple[int, ...]] = {}
    for at, (photo, identity) in enumerate(zip(table["photo"], table["identity"], strict=True)):
        row = at + 2
        where = f"{path}, row {row} ({photo})"
        pure = PurePosixPath(photo)
        if pure.is_absolute() or ".." in pure.parts or "\\" in photo or str(pure) != photo:
            raise DatasetError(
                f"{where}: photo must be a plain relative path inside the dataset folder"
            )
        size = tuple(sizes[at])
        if size_of.setdefault(photo, size) != size:
            raise DatasetError(f"{where}: width and height differ from an earlier row")
        if unboxed[at]:
            if identity:
                raise DatasetError(f"{where}: identity {identity!r} without a box")
            if photo in empty_photos:
                raise DatasetError(f"{where}: same photo twice (row {empty_photos[photo]})")
            empty_photos[photo] = row
            continue
        box, (width, height) = boxes[at], size
        if np.isnan(box).any():
            raise DatasetError(f"{where}: box has only some of its four numbers")
        if some_landmarks[at]:
            raise DatasetError(f"{where}: only some of the {len(LANDMARKS)} landmark numbers")
        x1, y1, x2, y2 = box.tolist()
        if x1 >= x2 or y1 >= y2:
            raise DatasetError(
                f"{where}: box is inverted or empty (x1 {x1:g}, x2 {x2:g}, y1 {y1:g}, y2 {y2:g})"
            )
        over_x, over_y = max(-x1, x2 - width), max(-y1, y2 - height)
        if over_x > MAX_OVERHANG * (x2 - x1) or over_y > MAX_OVERHANG * (y2 - y1):
            raise DatasetError(
                f"{where}: box [{x1:g}, {y1:g}, {x2:g}, {y2:g}] lies outside the photo "
                f"({width} x {height})"
            )
        boxes[at] = np.clip(box, 0, [width, height, width, height])
        keys = [(photo, "box", *box)] + ([(photo, "identity", identity)] if identity else [])
        for key in keys:
            if key in seen:
                what = "box" if key[1] == "box" else f"identity {identity!r}"
                raise DatasetError(
                    f"{where}: same photo twice with the same {what} (row {seen[key]})"
                )
            seen[key] = row
    if unboxed.all():
        raise DatasetError(f"{path}: no faces at all (no row has a box)")
    boxed_photos = set(table["photo"][~unboxed])
    for photo, row in empty_photos.items():
        if photo in boxed_photos:
            raise DatasetError(
                f"{path}, row {row} ({photo}): row without a box, but another has one"
            )
    table[BOX] = boxes


def _check_photos(folder: Path, path: Path, table: pd.DataFrame) -> None:
    once = table.drop_duplicates("photo")
    for at, photo, width, height in zip(
        once.index, once["photo"], once["width"], once["height"], strict=True
    ):
        try:
            size = photo_size(folder / photo)
        except PhotoError as error:
            raise DatasetError(f"{path}, row {at + 2}: {error}") from None
        if size != (width, height):
            raise DatasetError(
                f"{path}, row {at + 2} ({photo}): the table says {width} x {height}, "
                f"the photo is {size[0]} x {size[1]}"
            )


def write_annotations(folder: Path | str, table: pd.DataFrame) -> None:
    """Write ``annotations.csv``, whole or not at all.

    Args:
        folder: of the dataset.
        table: ``COLUMNS`` and any further columns that a dataset may have; boxes and landmarks
            are rounded to 0.1 pixels, columns of other names are left out.
    """
    out = table[COLUMNS + [name for name in table if _may_be_added(name)]].copy()
    pixels = [name for name in (*BOX, *LANDMARKS) if name in out]
    out[pixels] = out[pixels].round(1)
    with storage.atomic_write(Path(folder) / ANNOTATIONS) as aside:
        out.to_csv(aside, index=False)


def subset(dataset: Dataset, photos: Iterable[str]) -> Dataset:
    """The dataset cut down to some of its photos, which keep their order and place on disk."""
    keep = dataset.table["photo"].isin(set(photos))
    return Dataset(dataset.folder, dataset.table[keep].reset_index(drop=True))
