"""Several datasets put into one."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.importers.target import ASIDE, check_target, replace
from thesislib.data.names import plain_name
from thesislib.data.schema import (
    ANNOTATIONS,
    Dataset,
    DatasetError,
    read_annotations,
    read_dataset,
)


def merge(folders: Sequence[Path | str], to: Path | str, progress: bool = True) -> Dataset:
    """Put several datasets into one, as the thesis did with its sources.

    Person ``anna`` of folder ``fei`` becomes ``fei-anna``, so that two Annas stay two people;
    photos are copied byte for byte to ``photos/fei/``.

    Args:
        folders: dataset folders, two or more, of different names.
        to: dataset folder, new or of an earlier merge of the same folders.
        progress: show a bar.

    Returns:
        the dataset, checked.

    Raises:
        DatasetError: a folder is no dataset, two folders or two people would have one name, or
            ``to`` holds something else.
        storage.FolderInUseError: another run is writing to ``to``.
    """
    to = Path(to)
    datasets = [read_dataset(folder) for folder in folders]
    names = [plain_name(dataset.name) for dataset in datasets]
    if len(names) < 2 or len({name.casefold() for name in names}) < len(names):
        raise DatasetError(f"merge needs two or more folders of different names, not {names}")
    settings = {
        "source": "merge",
        "from": [str(dataset.folder) for dataset in datasets],
        "files": storage.text_hash(" ".join(dataset.content_hash for dataset in datasets)),
    }
    check_target(to, settings)
    _check_names(datasets, names)
    with storage.folder_lock(to):
        check_target(to, settings)
        earlier = set(read_annotations(to)["photo"]) if (to / ANNOTATIONS).exists() else set()
        tables = []
        for dataset, name in zip(datasets, names, strict=True):
            moved = {}
            for photo in tqdm(dataset.photos, desc=dataset.name, disable=not progress):
                rest = PurePosixPath(photo)
                rest = rest.relative_to("photos") if rest.parts[0] == "photos" else rest
                moved[photo] = f"photos/{name}/{rest}"
                with storage.atomic_write(to / ASIDE / moved[photo]) as aside:
                    shutil.copyfile(dataset.folder / photo, aside)
            table = dataset.table.copy()
            known = table["identity"] != ""
            table.loc[known, "identity"] = name + "-" + table.loc[known, "identity"]
            table["photo"] = table["photo"].map(moved)
            tables.append(table)
        merged = pd.concat(tables, ignore_index=True)
        if "box_source" in merged:  # a column that not each of them need have
            merged["box_source"] = merged["box_source"].fillna("")
        replace(to, merged, earlier | set(merged["photo"]), settings)
    return read_dataset(to)


def _check_names(datasets: Sequence[Dataset], names: Sequence[str]) -> None:
    """Refuse two people who would have one name: b-anna of fei, and anna of fei-b.

    Raises:
        DatasetError: they are named.
    """
    whose: dict[str, tuple[str, str]] = {}
    for dataset, name in zip(datasets, names, strict=True):
        for person in dataset.identities:
            first = whose.setdefault(f"{name}-{person}", (name, person))
            if first != (name, person):
                raise DatasetError(
                    f"{person!r} of {name} and {first[1]!r} of {first[0]} would both be "
                    f"{name}-{person}; rename one of the folders"
                )
