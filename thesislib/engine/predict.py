"""Faces in many photos: read, shared out over processes, kept on disk, in order.

Every system (a net, a pipeline, a gallery, an exported net) answers decoded photos in one process
by ``predict_arrays``; :func:`predict` is the one way from files to those answers.
"""

import contextlib
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from thesislib import cache, storage
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.images import (
    DRAWN,
    PHOTO_FORMS,
    PHOTO_SUFFIXES,
    PhotoError,
    check_form,
    open_photo,
)
from thesislib.engine.checkpoint import (
    CHECKPOINT,
    NET,
    CheckpointError,
    read_tensors,
    write_tensors,
)
from thesislib.engine.processes import share_out, this_process
from thesislib.faces import Face, check_score_threshold

Photo = str | Path | np.ndarray | Image.Image
Photos = Photo | Sequence[Photo]
CHUNK = 64  # photos answered as one piece of work, and kept as one file
MAX_BYTES = 256 * 2**20  # of decoded photos at a time: large ones are answered in smaller batches
FACES, EMBEDDINGS, UNREADABLE = "faces.csv", "embeddings.npy", "unreadable.csv"
_PARTS = "parts"
_DECODED = 8  # photos decoded at a time


class System(Protocol):
    """What finds and names faces.

    Scores are 0 to 1 unless it has an attribute ``highest_score`` that says otherwise.
    """

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float
    ) -> list[list[Face]]:
        """Faces of decoded photos, uint8 [H, W, 3] RGB of any sizes, best first."""
        ...


def predict(
    system: System,
    photos: Photos,
    score_threshold: float = 0.5,
    out: Path | str | None = None,
    progress: bool = False,
) -> list:
    """Faces of photos.

    Under ``torchrun`` the photos are shared out over the processes, and every process receives all
    answers, in order.

    Args:
        system: what finds and names faces.
        photos: one photo or a sequence of photos, each a path, a PIL image or an array (uint8,
            uint16 or float in 0..1; [H, W], [H, W, 1] or [H, W, 3] RGB); or a folder, of which all
            photos are taken, in order of their paths. A folder in a sequence gives way to its
            photos.
        score_threshold: detections with scores up to this one are dropped; 0 to 1, or any number
            for a system whose ``highest_score`` is infinite.
        out: a folder in which the answers are kept while they come, so that an interrupted call
            goes on (all processes must see it). It ends as ``faces.csv``, one row per face (with
            landmarks from a net that finds them), and ``embeddings.npy``, float32 [D, E], row by
            row. Photos must be paths then.
        progress: show a bar.

    Returns:
        of one photo a list of :class:`Face`, highest score first; of a sequence or a folder a
        list of such lists, in order.

    Raises:
        PhotoError: a photo cannot be read; it is named. Those of folders then have no faces; a
            warning names them, and ``unreadable.csv`` in ``out``.
        CheckpointError: ``out`` holds the answers of another system or threshold, or what was not
            made here and would be replaced.
        TypeError: neither path, array nor PIL image.
        ValueError: an array that is no photo, a folder without photos, ``out`` and no paths, or a
            threshold out of range.
    """
    check_score_threshold(score_threshold, getattr(system, "highest_score", 1.0))
    folder = Path(photos) if _is_folder(photos) else None  # type: ignore[arg-type]
    single = folder is None and isinstance(photos, PHOTO_FORMS)
    given = _as_list(photos)
    several = one_by_one(given)
    # What was asked for by its own name must be there and readable.
    named = {Path(one) for one in given if isinstance(one, str | Path)}
    if out is None:
        answers, unreadable = _answer(system, several, score_threshold, named, progress)
        _warn(unreadable)
    else:
        answers = _answer_into(Path(out), system, several, score_threshold, named, progress, folder)
    return answers[0] if single else answers


def one_by_one(photos: Photos) -> list[Photo]:
    """Photos one by one: a folder, alone or among others, gives way to the photos in it.

    Raises:
        TypeError: neither path, array nor PIL image.
        ValueError: a folder without photos.
    """
    listed: list[Photo] = []
    for photo in _as_list(photos):
        check_form(photo)
        listed += photos_in(photo) if _is_folder(photo) else [photo]  # type: ignore[arg-type]
    return listed


def _as_list(photos: Photos) -> list[Photo]:
    if not isinstance(photos, Iterable) or isinstance(photos, PHOTO_FORMS):
        return [photos]
    return list(photos)


def _is_folder(photo: object) -> bool:
    return isinstance(photo, str | Path) and Path(photo).is_dir()


def photos_in(folder: Path | str) -> list[Path]:
    """All photos of a folder and the folders in it, in order of their paths; not pictures that were
    drawn beside them, ``*.recognised.jpg``.

    Raises:
        ValueError: there is none.
    """
    folder = Path(folder)
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTO_SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(DRAWN)
    )
    if not found:
        raise ValueError(f"{folder}: no photos in it")
    return found


def _answer(
    system: System, photos: list[Photo], score_threshold: float, named: set[Path], progress: bool
) -> tuple[list[list[Face]], list[tuple[str, str]]]:
    """Answers to photos, and which could not be read and why."""
    chunks = [photos[at : at + CHUNK] for at in range(0, len(photos), CHUNK)]
    with _bar(len(chunks), progress) as bar:
        found = share_out(chunks, lambda c: _answer_chunk(system, c, score_threshold, named), bar)
    faces = [face for answered, _ in found for face in answered]
    return faces, [problem for _, problems in found for problem in problems]


def _bar(chunks: int, progress: bool) -> tqdm:
    state = this_process()
    shown = progress and state.is_main_process
    total = -(-chunks // state.num_processes)
    return tqdm(total=total, desc="predicting", unit="batch", disable=not shown)


def _answer_chunk(
    system: System, photos: Sequence[Photo], score_threshold: float, named: set[Path]
) -> tuple[list[list[Face]], list[tuple[str, str]]]:
    def read(photo: Photo) -> np.ndarray | PhotoError:
        try:
            return open_photo(photo)
        except PhotoError as error:
            if not isinstance(photo, str | Path) or Path(photo) in named:
                raise
            return error

    faces: list[list[Face]] = []
    problems: list[tuple[str, str]] = []
    waiting: list[np.ndarray | PhotoError] = []

    def answer() -> None:
        readable = [photo for photo in waiting if isinstance(photo, np.ndarray)]
        answers = iter(system.predict_arrays(readable, score_threshold) if readable else [])
        faces.extend(next(answers) if isinstance(one, np.ndarray) else [] for one in waiting)
        waiting.clear()

    with ThreadPoolExecutor() as pool:
        for at in range(0, len(photos), _DECODED):
            some = photos[at : at + _DECODED]
            decoded = list(pool.map(read, some))
            for photo, one in zip(some, decoded, strict=True):
                if isinstance(one, PhotoError):
                    problems.append((str(photo), str(one)))
            waiting += decoded
            if sum(one.nbytes for one in waiting if isinstance(one, np.ndarray)) > MAX_BYTES:
                answer()
    answer()
    return faces, problems


def _warn(unreadable: Sequence[tuple[str, str]]) -> None:
    if unreadable and this_process().is_main_process:
        told = "; ".join(reason for _, reason in unreadable[:5])
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        warnings.warn(f"{len(unreadable)} photos left out: {told}{more}", stacklevel=3)


# --- answers kept on disk ---------------------------------------------------------------------


def _answer_into(
    out: Path,
    system: System,
    photos: list[Photo],
    score_threshold: float,
    named: set[Path],
    progress: bool,
    folder: Path | None,
) -> list[list[Face]]:
    files = [Path(photo) for photo in photos if isinstance(photo, str | Path)]
    if len(files) < len(photos):
        raise ValueError(
            "out: answers are kept for photos that are files, not for arrays or images"
        )
    state = this_process()
    settings = {"system": answers_key(system), "score_threshold": score_threshold}
    # Before the lock, as taking it would already leave a file in somebody else's folder.
    _check_out(out, settings)
    with storage.folder_lock(out) if state.is_main_process else contextlib.nullcontext():
        if state.is_main_process:
            _check_out(out, settings)
            storage.sweep(out)
            storage.sweep(out / _PARTS)
            storage.write_json(out / cache.CONFIG, settings)
        state.wait_for_everyone()
        chunks = [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]

        def answer(chunk: list[Path]) -> str:
            part = out / _PARTS / f"{_chunk_key(chunk)}.safetensors"
            if not part.exists():
                _write_part(part, *_answer_chunk(system, chunk, score_threshold, named))
            return part.name

        with _bar(len(chunks), progress) as bar:
            parts = share_out(chunks, answer, bar)
        read = [_read_part(out / _PARTS / name) for name in parts]
        unreadable = [problem for _, found in read for problem in found]
        for name, reason in unreadable:
            if Path(name) in named:  # left out by an earlier call, over its folder
                raise PhotoError(reason)
        faces = [answer for answers, _ in read for answer in answers]
        if state.is_main_process:
            names = [file.relative_to(folder).as_posix() if folder else str(file) for file in files]
            _write_answers(out, names, faces, unreadable)
            _warn(unreadable)
        state.wait_for_everyone()
    return faces


def _check_out(out: Path, settings: dict) -> None:
    """Refuse a folder that holds anything but (part of) the answers that ``settings`` stand for."""
    record = out / cache.CONFIG
    for name in (NET, CHECKPOINT):
        if (out / name).exists():
            raise CheckpointError(f"{out}: holds a net or its training; choose another out")
    if record.exists():
        try:
            found = storage.read_record(record, "answers")
        except ValueError as error:
            raise CheckpointError(str(error)) from None
        if found.keys() != settings.keys():
            raise CheckpointError(f"{record}: not a record of answers; choose another out")
        if found != settings:
            differs = ", ".join(sorted(k for k in settings if found[k] != settings[k]))
            raise CheckpointError(f"{out}: holds answers of another {differs}; choose another out")
        return
    for name in (FACES, EMBEDDINGS, UNREADABLE, _PARTS):
        if (out / name).exists():
            raise CheckpointError(f"{out}: holds {name} that was not made here; choose another out")


def answers_key(system: System) -> str:
    """What tells the answers of a system from those of every other.

    Raises:
        ValueError: the system does not say; its answers cannot be kept.
    """
    for name in ("answers_key", "fingerprint"):
        if hasattr(system, name):
            return getattr(system, name)
    raise ValueError(f"out: a {type(system).__name__} has no answers_key to know its answers by")


def _chunk_key(files: Iterable[Path]) -> str:
    """Names, sizes and times of the files: photos that were changed are answered again."""
    stats = []
    for file in files:
        stat = file.stat() if file.exists() else None
        stats.append([str(file), stat and stat.st_size, stat and stat.st_mtime_ns])
    return hashlib.sha256(cache.canonical({"files": stats}).encode()).hexdigest()[:16]


def _write_part(path: Path, answers: list[list[Face]], problems: list[tuple[str, str]]) -> None:
    faces = [face for answer in answers for face in answer]
    tensors = {
        "count": torch.tensor([len(answer) for answer in answers], dtype=torch.int64),
        "boxes": _stacked([face.box for face in faces], 4),
        "scores": torch.tensor([[face.score, face.name_score] for face in faces]).reshape(-1, 2),
    }
    for name in ("embedding", "landmarks"):
        if faces and getattr(faces[0], name) is not None:
            values = [getattr(face, name) for face in faces]
            tensors[name] = torch.from_numpy(np.stack(values).astype(np.float32))
    about = {"names": [face.name for face in faces], "unreadable": problems}
    write_tensors(path, tensors, about)


def _stacked(rows: list[np.ndarray], width: int) -> torch.Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32).reshape(-1, width))


def _read_part(path: Path) -> tuple[list[list[Face]], list[tuple[str, str]]]:
    tensors, about = read_tensors(path, "part of the answers")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    faces = [
        Face(
            arrays["boxes"][at],
            float(arrays["scores"][at, 0]),
            name,
            float(arrays["scores"][at, 1]),
            *(arrays[key][at] if key in arrays else None for key in ("embedding", "landmarks")),
        )
        for at, name in enumerate(about["names"])
    ]
    answers, start = [], 0
    for count in arrays["count"].tolist():
        answers.append(faces[start : start + count])
        start += count
    return answers, [tuple(problem) for problem in about["unreadable"]]


def _write_answers(
    out: Path, names: list[str], answers: list[list[Face]], problems: list[tuple[str, str]]
) -> None:
    import pandas as pd

    rows = [
        (name, *face.box.round(1).tolist(), face.score, face.name, face.name_score)
        for name, answer in zip(names, answers, strict=True)
        for face in answer
    ]
    columns = ["photo", *BOX, "score", "name", "name_score"]
    table = pd.DataFrame(rows, columns=columns)
    points = [f.landmarks for answer in answers for f in answer if f.landmarks is not None]
    if points:
        table[LANDMARKS] = np.stack(points).reshape(len(points), -1).round(1)
    storage.write_text(out / FACES, table.to_csv(index=False, float_format="%.6g"))
    embeddings = [f.embedding for answer in answers for f in answer if f.embedding is not None]
    # What an earlier call over other photos left is not of these.
    (out / EMBEDDINGS).unlink(missing_ok=True)
    (out / UNREADABLE).unlink(missing_ok=True)
    if embeddings:
        with storage.atomic_write(out / EMBEDDINGS) as aside, open(aside, "wb") as file:
            np.save(file, np.stack(embeddings), allow_pickle=False)
    if problems:
        listed = pd.DataFrame(problems, columns=["photo", "reason"]).to_csv(index=False)
        storage.write_text(out / UNREADABLE, listed)
