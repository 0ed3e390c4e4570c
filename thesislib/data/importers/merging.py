"""Several datasets put into one."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.importers.importing import RECORD, check_target
from thesislib.data.schema import Dataset, DatasetError, read_dataset, write_annotations


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
        DatasetError: a folder is no dataset, two have one name, or ``to`` holds something else.
        storage.FolderInUseError: another run is writing to ``to``.
    """
    to = Path(to)
    datasets = [read_dataset(folder) for folder in folders]
    names = [dataset.name for dataset in datasets]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DatasetError(f"merge needs two or more folders of different names, not {names}")
    settings = {"source": "merge", "from": names}
    check_target(to, settings)
    with storage.folder_lock(to):
        storage.write_json(to / RECORD, settings)
        tables = []
        for dataset in datasets:
            moved = {}
            for photo in tqdm(dataset.photos, desc=dataset.name, disable=not progress):
                rest = PurePosixPath(photo)
                rest = rest.relative_to("photos") if rest.parts[0] == "photos" else rest
                moved[photo] = f"photos/{dataset.name}/{rest}"
                with storage.atomic_write(to / moved[photo]) as aside:
                    shutil.copyfile(dataset.folder / photo, aside)
            table = dataset.table.copy()
            known = table["identity"] != ""
            table.loc[known, "identity"] = dataset.name + "-" + table.loc[known, "identity"]
            table["photo"] = table["photo"].map(moved)
            tables.append(table)
        merged = pd.concat(tables, ignore_index=True)
        if "box_source" in merged:  # a column that not each of them need have
            merged["box_source"] = merged["box_source"].fillna("")
        write_annotations(to, merged)
    return read_dataset(to)
