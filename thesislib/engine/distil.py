"""A joint net that knows faces: it learns to say from whole photos what dlib says of cut-out ones.

The first stages of dlib's recogniser stay as they are and run over the photo. Heads learn to find
faces and landmarks there; the later stages, which start as dlib's, learn to read each face from
the common map as dlib's whole recogniser reads it from a chip of its own (distillation: Hinton et
al. 2015; of a recogniser into a joint net: Uniface, Liao et al. 2017). No names are needed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.columns import BOX, LANDMARKS, UNKNOWN
from thesislib.data.detector import detect_faces, dlib_points
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.loading import Photo
from thesislib.data.schema import ANNOTATIONS, DatasetError, read_dataset
from thesislib.data.views import FacePhoto, Views, portrait_through
from thesislib.engine.checkpoint import (
    DLIB,
    best_device,
    read_tensors,
    start_from,
    write_tensors,
)
from thesislib.engine.distil_loss import distil_loss
from thesislib.engine.predict import photos_in
from thesislib.engine.train import new_joint_net, provenance, train_net
from thesislib.models.backbone import Normalise
from thesislib.models.chips import DLIB_REFERENCE, REFERENCE, chip_transforms
from thesislib.models.dlib_resnet import CHIP_PX, EMBEDDING_DIM, dlib_recogniser, read_weights
from thesislib.models.heads import NOBODY
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile, get_profile

VIEW_PX = 320  # side of the views
EPOCH_STEPS = 1000  # between two rows of the history
SCENE_SHARE = 0.6  # of the views, where folders of scenes are given; at most, where none are
PORTRAIT = 0.35  # a photo of one face of at least this share of its shorter side is a portrait
LEARNED_PX = 3.0  # faces smaller than this, in pixels of the photo, are not learned
ANCHOR_VIEWS = 200  # views to whose faces anchors are fitted
GRID_SHARE = 0.2  # of the learning rate, for dlib's stages that are read at a grid
LEFT_OUT = "left_out.csv"
_TEACHER = "teacher"
_CHUNK = 256  # portraits whose answers are kept as one file


def distil(
    photos: Sequence[Path | str],
    out: Path | str,
    *,
    scenes: Sequence[Path | str] = (),
    profile: str | Profile = "default",
    steps: int | None = None,
    leave_out: int = 0,
    most_portraits: int | None = None,
    seed: int = 0,
    start: Path | str | None = None,
    progress: bool = True,
) -> JointNet:
    """Teach a joint net to find faces and to tell people apart, from photos of anybody.

    An interrupted call goes on, and called again with the same arguments it opens the net that is
    there. The teacher's answers are kept in ``out``. Photos that cannot be used are counted and
    listed in ``out/left_out.csv`` with the reason.

    Args:
        photos: folders: datasets, whose boxes and landmarks are taken (identities are not looked
            at), or plain folders of photos, in which dlib's detector finds the faces.
        out: folder of this training; gets ``net.safetensors``.
        scenes: further folders, from which finding faces is learned and nobody's face.
        profile: name of a profile, or one of your own.
        steps: optimiser steps of ``profile.batch`` views; None for 1000 x ``profile.epochs``.
        leave_out: photos whose number, in the file's name, is divisible by this are left for
            measuring; 0 leaves out none.
        most_portraits: learn from the first so many photos of one large face; None for all.
        seed: of everything random.
        start: a distilled net to go on from; None for dlib's recogniser.
        progress: show bars.

    Returns:
        the net, which knows nobody by name, in evaluation mode.

    Raises:
        MissingExtraError: dlib, or the package with its weights, is not installed.
        TeacherError: dlib's weights are damaged or another net's.
        DatasetError: no photo that can be learned from; a dataset that breaks the form.
        CheckpointError: ``out`` holds another training.
        NonFiniteLossError, FolderInUseError: see :func:`thesislib.engine.train.fit`.
        ValueError: a profile of another backbone or length of embeddings, or fewer than one step
            or portrait asked for.
    """
    if most_portraits is not None and most_portraits < 1:
        raise ValueError(f"most_portraits is {most_portraits}, must be 1 or more")
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}, must be 1 or more")
    profile = get_profile(profile) if isinstance(profile, str) else profile
    if (profile.backbone, profile.embedding_dim) != ("dlib", EMBEDDING_DIM):
        raise ValueError(
            f"profile: a student of dlib has backbone='dlib' and embedding_dim={EMBEDDING_DIM}, "
            f"not {profile.backbone!r} and {profile.embedding_dim}"
        )
    out = Path(out)
    weights = read_weights()
    found, left_out = face_photos(photos, leave_out, progress)
    whole, more_left_out = face_photos(scenes, leave_out, progress)
    left_out += more_left_out
    portraits: list[FacePhoto] = []
    for photo in found:
        if not is_portrait(photo):
            whole.append(photo)
        elif len(portraits) == most_portraits:
            left_out.append((photo.path, f"beyond the first {most_portraits} portraits"))
        elif (with_landmarks := dlib_landmarked(photo)) is not None:
            portraits.append(with_landmarks)
        else:
            left_out.append((photo.path, "the teacher finds no landmarks in it"))
    if not any(len(photo.boxes) for photo in (*portraits, *whole)):
        raise DatasetError(
            f"{', '.join(map(str, (*photos, *scenes)))}: no face to learn from in "
            f"{len(left_out)} photos; "
            + "; ".join(f"{path.name}: {reason}" for path, reason in left_out[:3])
        )
    answers = teacher_answers(portraits, weights, out / _TEACHER, progress)
    about = provenance(
        _content(portraits, whole),
        profile,
        seed,
        start,
        photos=[Path(folder).name for folder in photos],
        scene_photos=[Path(folder).name for folder in scenes],
        portraits=len(portraits),
        scenes=len(whole),
        left_out=len(left_out),
        steps=steps or EPOCH_STEPS * profile.epochs,
    )
    spread = 1.0
    if len(answers):
        spread = float(np.square(answers - answers.mean(axis=(0, 1))).sum(axis=2).mean())

    # Without scenes of their own, the few photos that are no portraits are not most of the views.
    share = SCENE_SHARE if scenes else min(SCENE_SHARE, len(whole) / (len(whole) + len(portraits)))
    crowds = profile.embedding_source == "landmarks"

    def make_views() -> Views:
        views = EPOCH_STEPS * profile.batch
        return Views(whole, portraits, answers, VIEW_PX, share, views, seed, crowds)

    net = train_net(
        new_student(profile, seed, make_views()),
        distil_loss(profile, spread),
        make_views,
        profile,
        out,
        about,
        start=start,
        progress=progress,
        steps=about["steps"],
        label="distilling",
    )
    # Last: only now is it certain that the folder is this training's.
    listed = pd.DataFrame(left_out, columns=["photo", "reason"])
    storage.write_text(out / LEFT_OUT, listed.to_csv(index=False))
    return net


def new_student(profile: Profile, seed: int, views: Views | None = None) -> JointNet:
    """The joint net before it learns: dlib's stages, and heads that have found nothing yet.

    Args:
        profile: settings.
        seed: of the heads.
        views: to whose faces the anchors of a grid are fitted; not needed where there are none.
    """
    seen = []
    if profile.embedding_source != "landmarks" and views is not None:
        side = profile.input_px  # of a view a pixel is a pixel of the input
        for at in range(ANCHOR_VIEWS):
            boxes = views[0, at][1]["boxes"]
            nobody = torch.full((len(boxes),), UNKNOWN)
            seen.append(Photo("", boxes, nobody, (side, side)))
    net = new_joint_net(list(NOBODY), seen, profile, seed)
    start_from(net, DLIB)
    net.classifier.requires_grad_(False)
    head: Any = net.embedding_head
    with torch.no_grad():
        if profile.embedding_source == "landmarks":
            net.backbone.requires_grad_(False)
        else:
            net.backbone.learning_share = GRID_SHARE
            last = read_weights()["embedding.linear.weight"]  # [E, C]
            copies = len(head.weight) // len(last)
            head.weight.copy_(last.repeat(copies, 1)[:, :, None, None])
            head.bias.zero_()  # dlib has none
    return net


# --- photos -----------------------------------------------------------------------------------


def face_photos(
    folders: Sequence[Path | str], leave_out: int = 0, progress: bool = True
) -> tuple[list[FacePhoto], list[tuple[Path, str]]]:
    """The photos of some folders with the faces in them, and those left out and why.

    Args:
        folders, leave_out, progress: see :func:`distil`.

    Raises:
        DatasetError: a dataset that breaks the form.
        ValueError: a folder without photos.
    """
    found: list[FacePhoto] = []
    left_out: list[tuple[Path, str]] = []
    for folder in map(Path, folders):
        annotated = (folder / ANNOTATIONS).is_file()
        read = _of_dataset(folder) if annotated else _of_plain_folder(folder, left_out, progress)
        for photo in read:
            if is_left_out(photo.path, leave_out):
                left_out.append((photo.path, f"left for measuring: divisible by {leave_out}"))
            else:
                found.append(photo)
    return found, left_out


def is_left_out(path: Path, leave_out: int) -> bool:
    """Whether the number in a file's name is divisible by ``leave_out``; 0 leaves out none."""
    digits = "".join(c for c in path.stem if c.isdecimal())
    return bool(leave_out and digits) and int(digits) % leave_out == 0


def _of_dataset(folder: Path) -> list[FacePhoto]:
    dataset = read_dataset(folder)
    table = dataset.table
    known = all(column in table for column in LANDMARKS)
    found = []
    for name, rows in table.groupby("photo", sort=False):
        rows = rows[rows["x1"].notna()]
        boxes = rows[BOX].to_numpy(np.float32)
        landmarks = np.full((len(rows), 5, 2), np.nan, np.float32)
        if known:
            landmarks = rows[LANDMARKS].to_numpy(np.float32).reshape(-1, 5, 2)
        tiny = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < LEARNED_PX
        found.append(FacePhoto(folder / str(name), boxes[~tiny], landmarks[~tiny], boxes[tiny]))
    return found


def _of_plain_folder(
    folder: Path, left_out: list[tuple[Path, str]], progress: bool
) -> list[FacePhoto]:
    found = []
    for path in tqdm(photos_in(folder), desc=folder.name, unit="photo", disable=not progress):
        try:
            photo = read_photo(path)
        except PhotoError as error:
            left_out.append((path, str(error)))
            continue
        boxes, _ = detect_faces(photo, upsampling=1)
        if len(boxes):
            landmarks = np.full((len(boxes), 5, 2), np.nan, np.float32)
            found.append(FacePhoto(path, boxes, landmarks, np.empty((0, 4), np.float32)))
        else:
            left_out.append((path, "dlib's detector finds no face in it"))
    return found


def is_portrait(photo: FacePhoto) -> bool:
    """Whether a photo shows one face, large, and nothing that must be ignored."""
    if len(photo.boxes) != 1 or len(photo.ignored):
        return False
    with Image.open(photo.path) as image:
        shorter = min(image.size)
    return float((photo.boxes[0, 2:] - photo.boxes[0, :2]).max()) >= PORTRAIT * shorter


def dlib_landmarked(photo: FacePhoto) -> FacePhoto | None:
    """A portrait with its landmarks, from dlib where they are not annotated; None without any.

    dlib has five other landmarks. They say where a chip of the face lies, and the landmarks given
    here are where those of a chip lie on average.
    """
    if not np.isnan(photo.landmarks).any():
        return photo
    points = torch.from_numpy(dlib_points(read_photo(photo.path), photo.boxes[0]))[None]
    transform = chip_transforms(points, DLIB_REFERENCE)[0].numpy()
    side = (photo.boxes[0, 2:] - photo.boxes[0, :2]).max()
    if np.hypot(*transform[:, 0]) * CHIP_PX < side / 4:  # the points lie on each other
        return None
    chip = np.c_[np.array(REFERENCE), np.ones(len(REFERENCE))]
    return dataclasses.replace(photo, landmarks=(chip @ transform.T)[None].astype(np.float32))


def _content(portraits: Sequence[FacePhoto], scenes: Sequence[FacePhoto]) -> str:
    digest = hashlib.sha256()
    for photo in (*portraits, *scenes):
        digest.update(storage.bytes_hash(photo.path).encode())
        for values in (photo.boxes, photo.landmarks, photo.ignored):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


# --- the teacher ------------------------------------------------------------------------------


def teacher_answers(
    portraits: Sequence[FacePhoto],
    weights: dict[str, torch.Tensor],
    folder: Path,
    progress: bool = True,
) -> np.ndarray:
    """dlib's embeddings of portraits as they are and mirrored, kept on disk while they come.

    Args:
        portraits: photos of one face each, with landmarks.
        weights: dlib's.
        folder: for the answers.
        progress: show a bar.

    Returns:
        float32 [P, 2, E].
    """
    device = best_device()
    teacher = dlib_recogniser(weights).to(device)
    normalise = Normalise.of("dlib").to(device)
    found = [np.empty((0, 2, EMBEDDING_DIM), np.float32)]
    starts = range(0, len(portraits), _CHUNK)
    with ThreadPoolExecutor() as pool:
        for start in tqdm(starts, desc="teacher", unit="chunk", disable=not progress):
            chunk = portraits[start : start + _CHUNK]
            kept = folder / f"{_chunk_key(chunk)}.safetensors"
            if not kept.is_file():
                chips = torch.from_numpy(np.stack(list(pool.map(_chip, chunk))))
                both = torch.stack([chips, chips.flip(2)], dim=1).flatten(0, 1)  # [2 P, H, W, 3]
                with torch.inference_mode():
                    photos = normalise(both.permute(0, 3, 1, 2).to(device))
                    vectors = torch.cat([teacher(part) for part in photos.split(64)])
                write_tensors(kept, {"answers": vectors.unflatten(0, (-1, 2)).cpu()}, {})
            found.append(read_tensors(kept, "file of the teacher's answers")[0]["answers"].numpy())
    return np.concatenate(found)


def _chip(photo: FacePhoto) -> np.ndarray:
    """The face as dlib's recogniser takes it, uint8 [150, 150, 3]."""
    transform = chip_transforms(torch.tensor(photo.landmarks))[0].numpy()
    return np.asarray(portrait_through(read_photo(photo.path), transform, CHIP_PX))


def _chunk_key(portraits: Sequence[FacePhoto]) -> str:
    told = [
        [storage.bytes_hash(photo.path), photo.landmarks.tolist(), photo.boxes.tolist()]
        for photo in portraits
    ]
    return storage.text_hash(json.dumps(told))[:16]
