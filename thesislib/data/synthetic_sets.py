"""Datasets of synthetic people on disk, drawn by :mod:`thesislib.data.synthetic`."""

import dataclasses
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data import synthetic
from thesislib.data.dataset import ANNOTATIONS, BOX, FACTOR, LANDMARKS, write_annotations

RECORD = "synthetic.json"
_TASK_SCENES = 4


@dataclasses.dataclass(frozen=True)
class SyntheticSet:
    """What a set of synthetic people holds; its bytes follow from these numbers alone.

    Attributes:
        people: how many, 1 or more, numbered from ``first_identity``.
        photos: how many in all, 1 or more, shared out as evenly as they go.
        sessions: sittings of each person, 1 or more; 0 is scenes instead: photos of 0 to 32
            people, each drawn from ``people`` or a stranger (empty identity).
        size: shorter side of a photo in pixels, 32 or more; photos are landscape, 4:3.
        seed: seed of everything drawn.
        first_identity: number of the first person; sets of one seed with disjoint ranges of
            numbers share nobody.
        camera: of :func:`synthetic.render_photo`; of portraits, not of scenes.
    """

    people: int
    photos: int
    sessions: int
    size: int = 320
    seed: int = 0
    first_identity: int = 0
    camera: str = "camera"

    def __post_init__(self) -> None:
        least = {"people": 1, "photos": 1, "sessions": 0, "size": 32, "seed": 0}
        for name, lowest in {**least, "first_identity": 0}.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}, must be {lowest} or more")
        if self.sessions and self.photos < self.people * self.sessions:
            raise ValueError(
                f"{self.photos} photos are too few for {self.people} people with "
                f"{self.sessions} sessions each"
            )
        if self.camera not in synthetic.CAMERAS:
            raise ValueError(
                f"camera {self.camera!r} is unknown; choose one of {', '.join(synthetic.CAMERAS)}"
            )
        if self.camera != "camera" and not self.sessions:
            raise ValueError(f"scenes are taken by camera, not by {self.camera}")
        if self.first_identity + self.people > synthetic.SCENE_PLACES:
            raise ValueError(f"identities end before {synthetic.SCENE_PLACES}")


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
        workers: processes to draw in; 1 draws in this process. More than one start afresh and
            import the calling script, which must then guard what it runs by ``__main__``.
        progress: whether to show a progress bar.

    Returns:
        The annotations.

    Raises:
        ValueError: ``folder`` was made with other numbers or by something else; nothing in it
            is touched then.
        storage.FolderInUseError: another run is writing to ``folder``.
    """
    folder = Path(folder)
    settings = {"version": synthetic.VERSION, **dataclasses.asdict(spec)}
    # Before the lock, as taking it would already leave a file in somebody else's folder.
    _check_settings(folder, settings)
    with storage.folder_lock(folder):
        _check_settings(folder, settings)
        storage.write_json(folder / RECORD, settings)
        tasks = _tasks(spec)
        names = [_photo_name(spec, *key) for task in tasks for key in task]
        annotations = folder / ANNOTATIONS
        if not (annotations.exists() and all(_is_whole_jpeg(folder / name) for name in names)):
            rows = _run(folder, spec, tasks, workers, progress)
            write_annotations(folder, pd.DataFrame(rows))
        return pd.read_csv(annotations, dtype={"identity": str, "session": str})


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


def _identity_name(identity: int) -> str:
    return f"p{identity:04d}"


def _photo_name(spec: SyntheticSet, number: int, session: int = 0, shot: int = 0) -> str:
    """Path of a photo below its folder; sessions and shots are numbered from 0."""
    if not spec.sessions:
        return f"photos/scene_{number:05d}.jpg"
    return f"photos/{_identity_name(number)}/s{session + 1}_{shot + 1:02d}.jpg"


def _is_whole_jpeg(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(2)
            file.seek(-2, 2)
            return start == b"\xff\xd8" and file.read(2) == b"\xff\xd9"
    except OSError:  # absent, or shorter than two bytes
        return False


def _make_photos(folder: Path, spec: SyntheticSet, keys: list[tuple]) -> list[dict]:
    """Write those of the photos that are missing; returns the annotation rows of all."""
    people = (spec.first_identity, spec.first_identity + spec.people)
    rows = []
    for key in keys:
        name = _photo_name(spec, *key)
        path = folder / name
        drawn = _is_whole_jpeg(path)
        if spec.sessions:
            draw = synthetic.lay_out_photo if drawn else synthetic.render_photo
            photo, faces = draw(*key, seed=spec.seed, size=spec.size, camera=spec.camera)
            session = f"s{key[1] + 1}"
        else:
            draw = synthetic.lay_out_scene if drawn else synthetic.render_scene
            photo, faces = draw(*key, people=people, seed=spec.seed, size=spec.size)
            session = f"scene_{key[0]:05d}"
        if not drawn:
            quality = faces[0]["factors"]["jpeg_quality"] if faces else 90
            with storage.written_aside(path) as aside:
                Image.fromarray(photo).save(aside, quality=int(quality))
        about = {"photo": name, "width": photo.shape[1], "height": photo.shape[0]}
        for face in faces:
            rows.append(
                {
                    **about,
                    "identity": "" if face["stranger"] else _identity_name(face["identity"]),
                    "session": session,
                    **dict(zip(BOX, face["box"].tolist(), strict=True)),
                    **dict(zip(LANDMARKS, face["landmarks"].ravel().tolist(), strict=True)),
                    **{FACTOR + name: round(v, 4) for name, v in face["factors"].items()},
                }
            )
        if not faces:
            rows.append({**about, "identity": "", "session": session})
    return rows


def _start_worker() -> None:
    torch.set_num_threads(1)


def _check_settings(folder: Path, settings: dict) -> None:
    """Raise ValueError if ``folder`` holds anything but (part of) what ``settings`` would make."""
    record = folder / RECORD
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
            f"{folder}: holds photos or annotations but no {RECORD}, so it was not made "
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
                done[at] = _make_photos(folder, spec, keys)
                bar.update(len(keys))
        else:
            # Spawned, as a forked PyTorch may hang on its parent's thread pool.
            context = multiprocessing.get_context("spawn")
            count = min(workers, len(tasks))
            with ProcessPoolExecutor(count, context, initializer=_start_worker) as pool:
                running = {
                    pool.submit(_make_photos, folder, spec, keys): at
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
