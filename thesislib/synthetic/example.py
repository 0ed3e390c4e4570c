"""Photos as a family has them, of people who do not exist: who is who, and photos of everybody.

Two families are known by portraits. In the other photos they stand together with a third family,
of whom there are no names.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from thesislib import paths, storage
from thesislib.data.schema import read_dataset
from thesislib.synthetic.parameters import FAMILIES, FAMILY
from thesislib.synthetic.sets import get_set, make

SURNAMES = ("Berg", "Costa", "Okafor")
FIRST_NAMES = (
    *("Ada", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas"),
    *("Kira", "Leon", "Maria", "Nikolai", "Olga", "Pavel", "Quentin", "Rosa", "Stefan", "Tanja"),
    *("Ugo", "Vera", "Wanda", "Xenia", "Yusuf", "Zoe", "Amara", "Bruno", "Chloe", "Diego"),
)
KNOWN = 2  # families of whom there are names


class Example(NamedTuple):
    """Two folders of photos, and the truth about the second.

    Attributes:
        people: ``people/<name>/*.jpg``, three portraits of each of twenty people.
        photos: a folder of portraits and of people together.
        truth: rows ``photo`` (path below ``photos``), ``name`` and ``x1, y1, x2, y2`` (pixels); of
            people without portraits in ``people`` the name that they would have, and of passers-by
            "".
    """

    people: Path
    photos: Path
    truth: pd.DataFrame


def name_of(identity: str) -> str:
    """Name of somebody in the sets ``families`` and ``parties``, "" of a passer-by.

    >>> name_of("p8000011")
    'Leon Costa'
    """
    if not identity:
        return ""
    number = int(identity.removeprefix("p")) - FAMILIES
    return f"{FIRST_NAMES[number]} {SURNAMES[number // FAMILY]}"


def example_photos(folder: Path | str, progress: bool = True) -> Example:
    """Make the folders ``people`` and ``photos``, unless they are there.

    Args:
        folder: that gets them.
        progress: show bars.

    Raises:
        ValueError: a folder of synthetic people that others than this library wrote.
    """
    folder = Path(folder)
    rows: list[pd.DataFrame] = []
    copies: dict[Path, Path] = {}
    for name in ("families", "parties"):
        source = paths.synthetic(name)
        make(source, get_set(name), progress=progress, wait=True)
        table = read_dataset(source).table.dropna(subset="x1")
        for photo, faces in table.groupby("photo"):
            file = Path(str(photo))
            who = [name_of(identity) for identity in faces["identity"]]
            if name == "parties":
                path = Path("photos", f"together {file.stem[-2:]}.jpg")
            elif _is_known(who[0]) and file.stem != "s2_02":
                path = Path("people", who[0], file.name)
            else:
                path = Path("photos", f"portrait {len(rows) + 1:02d}.jpg")
            copies[path] = source / file
            if path.parts[0] == "photos":
                boxes = faces[["x1", "y1", "x2", "y2"]].assign(photo=path.name, name=who)
                rows.append(boxes)
    for path, file in copies.items():
        if not (folder / path).exists():
            with storage.atomic_write(folder / path) as new:
                shutil.copyfile(file, new)
    truth = pd.concat(rows, ignore_index=True)
    return Example(folder / "people", folder / "photos", truth)


def _is_known(name: str) -> bool:
    return name.split()[-1] in SURNAMES[:KNOWN]
