"""Datasets of synthetic people on disk, drawn by :mod:`thesislib.data.synthetic`."""

import dataclasses
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.schema import (
    ANNOTATIONS,
    SYNTHETIC_RECORD,
    read_annotations,
    write_annotations,
)
from thesislib.synthetic import drawing, parameters
from thesislib.synthetic.drawing import SyntheticSet

_TASK_SCENES = 4


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
    "many": SyntheticSet(people=84, photos=672, sessions=2, size=128, first_identity=3_000_000),
    "smoke_many": SyntheticSet(
        people=24, photos=96, sessions=2, size=128, first_identity=4_000_000
    ),
    # New people before another camera, for Experiment 2.
    "newcomers": SyntheticSet(
        people=20, photos=280, sessions=2, size=128, first_identity=5_000_000, camera="phone"
    ),
    "smoke_newcomers": SyntheticSet(
        people=3, photos=36, sessions=2, size=128, first_identity=6_000_000, camera="phone"
    ),
    "crowd": SyntheticSet(people=40, photos=600, sessions=0),
    # Disjoint from all others, for embeddings of people never seen.
    "strangers": SyntheticSet(people=100, photos=1200, sessions=3, first_identity=1_000_000),
}


def make(
    folder: Path | str, spec: SyntheticSet, workers: int = 2, progress: bool = True
) -> pd.DataFrame:
    """Make a dataset of synthetic people, or finish one that was interrupted.

    The bytes written depend on ``spec`` alone, not on ``workers`` or on how often the making was
    interrupted. Photos that are there whole are kept.

    Args:
        folder: where to write ``photos/``, ``synthetic.json`` (the numbers of ``spec``) and,
            last, ``annotations.csv``, with landmarks and ``factor_`` columns.
        spec: what to make.
        workers: processes to draw in; 1 draws in this process.
        progress: whether to show a progress bar.

    Returns:
        The annotations.

    Raises:
        ValueError: ``folder`` was made with other numbers or by something else; nothing in it
            is touched then.
        storage.FolderInUseError: another run is writing to ``folder``.
    """
    folder = Path(folder)
    settings = {"version": parameters.VERSION, **dataclasses.asdict(spec)}
    # Before the lock, as taking it would already leave a file in somebody else's folder.
    _check_settings(folder, settings)
    with storage.folder_lock(folder):
        _check_settings(folder, settings)
        storage.write_json(folder / SYNTHETIC_RECORD, settings)
        tasks = _tasks(spec)
        names = [drawing.photo_name(spec, *key) for task in tasks for key in task]
        annotations = folder / ANNOTATIONS
        if not (
            annotations.exists() and all(drawing.is_whole_jpeg(folder / name) for name in names)
        ):
            rows = _run(folder, spec, tasks, workers, progress)
            write_annotations(folder, pd.DataFrame(rows))
        return read_annotations(folder)


def _tasks(spec: SyntheticSet) -> list[list[tuple]]:
    """Photos by their keys: (identity, session, shot), a task a sitting; or (scene,)."""
    if not spec.sessions:
        scenes = [(scene,) for scene in range(spec.photos)]
        return [scenes[at : at + _TASK_SCENES] for at in range(0, len(scenes), _TASK_SCENES)]
    tasks = []
    for at, photos in enumerate(_shares(spec.photos, spec.people)):
        for session, shots in enumerate(_shares(photos, spec.sessions)):
            tasks.append([(spec.first_identity + at, session, shot) for shot in range(shots)])
    return tasks


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _check_settings(folder: Path, settings: dict) -> None:
    """Raise ValueError if ``folder`` holds anything but (part of) what ``settings`` would make."""
    record = folder / SYNTHETIC_RECORD
    if record.exists():
        made_with = json.loads(record.read_text(encoding="utf-8"))
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


def _run(folder, spec: SyntheticSet, tasks: list, workers: int, progress: bool) -> list[dict]:
    """Rows of all tasks, in the tasks' order, made in ``workers`` processes."""
    done: dict[int, list[dict]] = {}
    with tqdm(
        total=spec.photos, unit="photo", desc="synthetic people", disable=not progress
    ) as bar:
        if workers <= 1 or len(tasks) == 1:
            for at, keys in enumerate(tasks):
                done[at] = drawing.make_photos(folder, spec, keys)
                bar.update(len(keys))
        else:
            # Spawned, as a forked PyTorch may hang on its parent's thread pool.
            context = multiprocessing.get_context("spawn")
            count = min(workers, len(tasks))
            with ProcessPoolExecutor(count, context, initializer=drawing.start_worker) as pool:
                with drawing.without_main():
                    running = {
                        pool.submit(drawing.make_photos, folder, spec, keys): at
                        for at, keys in enumerate(tasks)
                    }
                try:
                    for future in as_completed(running):
                        at = running[future]
                        done[at] = future.result()
                        bar.update(len(tasks[at]))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    return [row for at in range(len(tasks)) for row in done[at]]
