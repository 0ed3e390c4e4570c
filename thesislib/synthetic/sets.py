"""Datasets of synthetic people on disk: sets by name, and the making of them."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.schema import ANNOTATIONS, SYNTHETIC_RECORD, write_annotations
from thesislib.synthetic.parameters import VERSION
from thesislib.synthetic.spec import PhotoNumbers, SyntheticSet, photo_name
from thesislib.synthetic.worker import DrawingPool, is_whole_jpeg, make_photos

SETS = {
    # What the default profile learns from, within minutes.
    "quick": SyntheticSet(people=20, photos=480, sessions=2, size=128),
    "smoke": SyntheticSet(people=4, photos=32, sessions=2, size=128),
    # As many people and photos as the thesis had.
    "thesis": SyntheticSet(people=285, photos=3277 + 651, sessions=3),
    # Thousands of people, to learn from before meeting real ones.
    "pretraining": SyntheticSet(
        people=3000, photos=12000, sessions=2, size=160, first_identity=2_000_000
    ),
    # People enough that some can be kept unseen, for Experiment 3 in the default profile.
    "many": SyntheticSet(people=84, photos=1008, sessions=6, size=128, first_identity=3_000_000),
    "smoke_many": SyntheticSet(
        people=24, photos=120, sessions=5, size=128, first_identity=4_000_000
    ),
    # New people before another camera, for Experiment 2.
    "newcomers": SyntheticSet(
        people=20, photos=280, sessions=2, size=128, first_identity=5_000_000, camera="phone"
    ),
    "smoke_newcomers": SyntheticSet(
        people=3, photos=36, sessions=2, size=128, first_identity=6_000_000, camera="phone"
    ),
    # Three families of parents and children, by portraits and together: relatives are told apart
    # with more effort than strangers.
    "families": SyntheticSet(people=30, photos=120, sessions=2, first_identity=8_000_000),
    "parties": SyntheticSet(people=30, photos=12, sessions=0, first_identity=8_000_000),
    "crowd": SyntheticSet(people=40, photos=600, sessions=0),
    # Disjoint from all others, for embeddings of people never seen.
    "strangers": SyntheticSet(people=100, photos=1200, sessions=3, first_identity=1_000_000),
}


def get_set(name: str) -> SyntheticSet:
    """The set of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in SETS:
        raise ValueError(f"no set {name!r}; choose one of {', '.join(SETS)}")
    return SETS[name]


def make(
    folder: Path | str,
    spec: SyntheticSet,
    workers: int = 2,
    progress: bool = True,
    wait: bool = False,
) -> None:
    """Make a dataset of synthetic people, or finish one that was interrupted.

    The bytes written depend on ``spec`` alone, not on ``workers`` or on how often the making was
    interrupted. Photos that are there whole are kept; a folder that is whole is not written to.

    Args:
        folder: where to write ``photos/``, ``synthetic.json`` (the numbers of ``spec``) and,
            last, ``annotations.csv``, with landmarks and ``factor_`` columns.
        spec: what to make.
        workers: processes to draw in; 1 draws in this process.
        progress: whether to show a progress bar.
        wait: wait while another run is writing to ``folder``.

    Raises:
        ValueError: ``folder`` was made with other numbers or by something else, or its record is
            damaged; nothing in it is touched then.
        storage.FolderInUseError: another run is writing to ``folder``, and ``wait`` is False.
    """
    folder = Path(folder)
    settings = {"version": VERSION, **dataclasses.asdict(spec)}
    # Before the lock, as taking it would already leave a file in somebody else's folder.
    _check_settings(folder, settings)
    tasks = spec.tasks()
    if _is_whole(folder, tasks):
        return
    with storage.folder_lock(folder, wait):
        _check_settings(folder, settings)
        if _is_whole(folder, tasks):  # another run has made it meanwhile
            return
        storage.write_json(folder / SYNTHETIC_RECORD, settings)
        rows: dict[int, list[dict[str, Any]]] = {}
        with tqdm(
            total=spec.photos, unit="photo", desc="synthetic people", disable=not progress
        ) as bar:
            for at, of_task in _run(folder, spec, tasks, workers):
                rows[at] = of_task
                bar.update(len(tasks[at]))
        in_order = [row for at in range(len(tasks)) for row in rows[at]]
        write_annotations(folder, pd.DataFrame(in_order))


def _is_whole(folder: Path, tasks: list[list[PhotoNumbers]]) -> bool:
    """Whether all is there; the annotations are written last."""
    return (folder / ANNOTATIONS).exists() and all(
        is_whole_jpeg(folder / photo_name(photo)) for photos in tasks for photo in photos
    )


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Raise ValueError if ``folder`` holds anything but (part of) what ``settings`` would make."""
    record = folder / SYNTHETIC_RECORD
    if record.exists():
        made_with = storage.read_record(record, "synthetic people")
        differing = [
            f"{key} is {made_with.get(key)} there and {settings.get(key)} here"
            for key in sorted({*made_with, *settings})
            if made_with.get(key) != settings.get(key)
        ]
        if differing:
            raise ValueError(
                f"{folder}: made with other parameters: {'; '.join(differing)}; "
                "choose another folder, or remove this one"
            )
    elif any((folder / name).exists() for name in ("photos", ANNOTATIONS)):
        raise ValueError(
            f"{folder}: holds photos or annotations but no {SYNTHETIC_RECORD}, so it was not made "
            "here; choose another folder"
        )


def _run(
    folder: Path, spec: SyntheticSet, tasks: list[list[PhotoNumbers]], workers: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Annotation rows of each task with its number, as they come from ``workers`` processes."""
    if workers <= 1 or len(tasks) == 1:
        for at, photos in enumerate(tasks):
            yield at, make_photos(folder, spec, photos)
        return
    with DrawingPool(min(workers, len(tasks))) as pool:
        running = {
            pool.submit(make_photos, folder, spec, photos): at for at, photos in enumerate(tasks)
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:  # an interrupt included: what is not begun stays undone
            pool.shutdown(cancel_futures=True)
            raise
