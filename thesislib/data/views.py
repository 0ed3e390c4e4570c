"""Views to learn finding faces from: crops of scenes, and mosaics of portraits as crowds.

A portrait shows one face large; many of them side by side, each turned, shifted and scaled at
random, give faces of every size in one view, each with the landmarks and whatever else is known of
it. Scenes give what mosaics lack: backgrounds, bodies, and faces as they lie in photos.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch.utils.data import Dataset as TorchDataset

from thesislib import seeds
from thesislib.data.columns import UNKNOWN
from thesislib.data.images import read_photo
from thesislib.data.transforms import warped

MIN_SIDE = 6.0  # pixels; smaller faces are neither learned nor background
MIN_VISIBLE = 0.5  # share of a face; of less nothing is learned
SCENE_SCALES = (0.35, 1.6)  # pixels of the view for one of the photo
HOLDS_A_FACE = 0.7  # share of scene crops that are placed by one of the photo's faces
ZOOM, TURN, SHIFT = (-0.15, 0.4), 12.0, 0.12  # of a portrait in its tile: log, degrees, share
SPLITS = {320: 0.85, 160: 0.6, 80: 0.35}  # how often a tile of that side is divided; others 0.3
SMALLEST_TILE = 64  # pixels, that is still divided
MOST_READ = 8  # faces of a view that are compared with the teacher
# Of coarse landmarks: degrees, log, and shares of the distance of the eyes.
COARSE_TURN, COARSE_SCALE, COARSE_SHIFT, COARSE_NOISE = 8.0, 0.15, 0.12, 0.06
_MIRRORED = [1, 0, 2, 4, 3]  # left and right of the five landmarks change places


@dataclasses.dataclass(frozen=True)
class FacePhoto:
    """A photo and what is known of the faces in it, in pixels of the photo.

    Attributes:
        path: of the file.
        boxes: float32 [F, 4].
        landmarks: float32 [F, 5, 2], NaN where not known.
        ignored: float32 [I, 4], regions in which nothing is learned.
    """

    path: Path
    boxes: np.ndarray
    landmarks: np.ndarray
    ignored: np.ndarray


class Views(TorchDataset):
    """Views of photos; item (epoch, index) is always the same one for the same seed.

    An item is uint8 [3, S, S] and its target, see :class:`thesislib.models.pyramid_loss.
    PyramidLoss`, with ``photo``, the names of what is in it, and of faces to compare with a
    teacher ``answers`` float32 [F, E] (NaN for the others); ``coarse`` float32 [F, 5, 2] are the
    landmarks with as much noise as the heads' own have.

    Args:
        scenes: whole scenes; may be empty where there are portraits.
        portraits: photos of one face; may be empty where there are scenes.
        answers: float32 [P, 2, E], the teacher's of each portrait, as it is and mirrored.
        size: side S of a view in pixels.
        scene_share: of all views; the others are mosaics.
        views: in an epoch.
        seed: of the run.
        crowds: tiles of mosaics are divided again and again, so that faces have all sizes; else
            once, as a net needs that reads all faces from one map.
    """

    def __init__(
        self,
        scenes: Sequence[FacePhoto],
        portraits: Sequence[FacePhoto],
        answers: np.ndarray,
        size: int,
        scene_share: float,
        views: int,
        seed: int,
        crowds: bool = True,
    ) -> None:
        if not scenes and not portraits:
            raise ValueError("no photos to make views of")
        self.scenes, self.portraits, self.answers = scenes, portraits, answers
        self.size, self.views, self.seed, self.crowds = size, views, seed, crowds
        self.scene_share = 1.0 if not portraits else scene_share if scenes else 0.0

    def __len__(self) -> int:
        return self.views

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, dict[str, Any]]:
        rng = seeds.generator(self.seed, "view", *key)
        if rng.random() < self.scene_share:
            photo = self.scenes[int(rng.integers(len(self.scenes)))]
            image, found = scene_view(photo, self.size, rng)
            answers = np.full((len(found.boxes), self.answers.shape[2]), np.nan, np.float32)
            names = photo.path.name
        else:
            image, found, who = mosaic_view(self.portraits, self.size, rng, self.crowds)
            answers = np.full((len(found.boxes), self.answers.shape[2]), np.nan, np.float32)
            for face in rng.permutation(len(who))[:MOST_READ]:
                answers[face] = self.answers[who[face]]
            names = ", ".join(self.portraits[at].path.name for at, _ in who)
        eyes = np.linalg.norm(found.landmarks[:, 1] - found.landmarks[:, 0], axis=1)
        coarse = disturbed(found.landmarks, eyes, rng)
        target = {
            "boxes": torch.from_numpy(found.boxes),
            "landmarks": torch.from_numpy(found.landmarks),
            "ignored": torch.from_numpy(found.ignored),
            "identities": torch.full((len(found.boxes),), UNKNOWN),
            "answers": torch.from_numpy(answers),
            "coarse": torch.from_numpy(coarse),
            "photo": names,
        }
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), target


def disturbed(landmarks: np.ndarray, eyes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Landmarks float [F, 5, 2] as heads tell them: turned, scaled, shifted, and each off a bit.

    Args:
        landmarks: of faces.
        eyes: float [F], distances of the eyes.
        rng: draws.
    """
    middle = landmarks.mean(axis=1, keepdims=True)
    count = len(landmarks)
    turn = np.deg2rad(rng.normal(0, COARSE_TURN, count))
    scale = np.exp(rng.normal(0, COARSE_SCALE, count))
    c, s = (scale * f(turn) for f in (np.cos, np.sin))
    linear = np.stack([np.stack([c, -s], axis=1), np.stack([s, c], axis=1)], axis=1)
    moved = np.einsum("fij,fpj->fpi", linear, landmarks - middle) + middle
    shift = rng.normal(0, COARSE_SHIFT, (count, 1, 2)) + rng.normal(0, COARSE_NOISE, moved.shape)
    return (moved + shift * eyes[:, None, None]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Seen:
    """Faces of a view, in its pixels; ``kept`` int64 [F] are their places in the photo."""

    boxes: np.ndarray  # float32 [F, 4], cut at the view's edge
    landmarks: np.ndarray  # float32 [F, 5, 2]
    ignored: np.ndarray  # float32 [I, 4]
    kept: np.ndarray


def seen_through(photo: FacePhoto, transform: np.ndarray, size: int) -> Seen:
    """The faces of a photo in a square view of it.

    Boxes stay upright: centre and size move with the photo, the turn of a degree or ten is left.

    Args:
        photo: with its faces.
        transform: float [2, 3], a similarity with or without reflection: (x, y, 1) of the view to
            (x, y) of the photo.
        size: side of the view in pixels.
    """
    linear = np.linalg.inv(transform[:, :2])
    offset = -linear @ transform[:, 2]
    scale = np.sqrt(abs(np.linalg.det(linear)))

    def moved(boxes: np.ndarray) -> np.ndarray:
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + offset
        half = scale * (boxes[:, 2:] - boxes[:, :2]) / 2
        return np.concatenate([middle - half, middle + half], axis=1)

    boxes = moved(photo.boxes)
    landmarks = photo.landmarks @ linear.T + offset
    if np.linalg.det(linear) < 0:
        landmarks = landmarks[:, _MIRRORED]
    cut = boxes.clip(0, size)
    visible = _area(cut) / _area(boxes).clip(1e-6)
    kept = (visible >= MIN_VISIBLE) & ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) >= MIN_SIDE)
    ignored = np.concatenate([moved(photo.ignored).clip(0, size), cut[~kept]])
    return Seen(
        cut[kept].astype(np.float32),
        landmarks[kept].astype(np.float32),
        ignored[_area(ignored) > 0].astype(np.float32),
        kept.nonzero()[0],
    )


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)


def scene_view(photo: FacePhoto, size: int, rng: np.random.Generator) -> tuple[Image.Image, Seen]:
    """A random square of a scene at a random scale, mirrored or not."""
    image = Image.fromarray(read_photo(photo.path))
    scale = float(np.exp(rng.uniform(*np.log(SCENE_SCALES))))
    side = size / scale
    over = np.array(image.size) - side  # by how much the photo is larger than the crop, or smaller
    corner = rng.uniform(np.minimum(over, 0), np.maximum(over, 0))
    if len(photo.boxes) and rng.random() < HOLDS_A_FACE:
        box = photo.boxes[rng.integers(len(photo.boxes))]
        middle = (box[:2] + box[2:]) / 2
        corner = corner.clip(middle - 0.9 * side, middle - 0.1 * side)
    transform = np.array([[1 / scale, 0, corner[0]], [0, 1 / scale, corner[1]]])
    if rng.random() < 0.5:
        transform = transform @ np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1]])
    view = recoloured(warped(image, transform, size), rng)
    return view, seen_through(photo, transform, size)


def mosaic_view(
    portraits: Sequence[FacePhoto], size: int, rng: np.random.Generator, crowds: bool = True
) -> tuple[Image.Image, Seen, list[tuple[int, int]]]:
    """Portraits in tiles that fill a square, of random sizes or of much the same one.

    Returns:
        the view, its faces, and of each the portrait and whether it is mirrored, 1 or 0.
    """
    view = Image.new("RGB", (size, size))
    parts, who = [], []
    for left, top, side in (_tiles if crowds else _divided)(0, 0, size, rng):
        at = int(rng.integers(len(portraits)))
        photo = portraits[at]
        pixels = read_photo(photo.path)
        extent = np.array(pixels.shape[1::-1])
        zoom = extent.min() / side * float(np.exp(rng.uniform(*ZOOM)))
        turn = np.deg2rad(rng.normal(0, TURN))
        mirrored = int(rng.random() < 0.5)
        c, s = zoom * np.cos(turn), zoom * np.sin(turn)
        linear = np.array([[-c if mirrored else c, -s], [-s if mirrored else s, c]])
        middle = extent / 2 + rng.uniform(-SHIFT, SHIFT, 2) * extent.min()
        transform = np.c_[linear, middle - linear @ [side / 2, side / 2]]
        view.paste(recoloured(portrait_through(pixels, transform, side), rng), (left, top))
        found = seen_through(photo, transform, side)
        offset = np.array([left, top], np.float32)
        corners = np.r_[offset, offset]
        parts.append((found.boxes + corners, found.landmarks + offset, found.ignored + corners))
        who += [(at, mirrored)] * len(found.boxes)
    boxes, landmarks, ignored = (np.concatenate(column) for column in zip(*parts, strict=True))
    return view, Seen(boxes, landmarks, ignored, np.arange(len(who))), who


def portrait_through(pixels: np.ndarray, transform: np.ndarray, size: int) -> Image.Image:
    """A square view of a portrait uint8 [H, W, 3], as :func:`warped` gives it of an image, but
    continued beyond its edges.

    Portraits are cut close, and a chip of the face reaches beyond them. There the photo goes on as
    its mirror image, for teacher and student alike: what both see must be one thing.
    """
    margin = min(pixels.shape[:2]) // 3
    more = np.pad(pixels, [(margin, margin), (margin, margin), (0, 0)], mode="reflect")
    shifted = transform + np.array([[0, 0, margin], [0, 0, margin]])
    return warped(Image.fromarray(more), shifted, size)


def _tiles(left: int, top: int, side: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Squares (left, top, side) that fill one, divided by two or three a side again and again."""
    if side < SMALLEST_TILE or rng.random() >= SPLITS.get(side, 0.3):
        return [(left, top, side)]
    found = []
    for tile in _divided(left, top, side, rng):
        found += _tiles(*tile, rng)
    return found


def _divided(
    left: int, top: int, side: int, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Two or three squares a side that fill one."""
    count = int(rng.integers(2, 4)) if side >= 2 * SMALLEST_TILE else 2
    edges = np.linspace(0, side, count + 1).round().astype(int)
    # A third of a side is a pixel more or less: the next tile covers what is over.
    return [
        (left + int(x), top + int(y), int(max(right - x, below - y)))
        for y, below in itertools.pairwise(edges)
        for x, right in itertools.pairwise(edges)
    ]


def recoloured(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation changed; now and then without colour, or blurred."""
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.7:
            view = change(view).enhance(float(rng.uniform(0.6, 1.4)))
    if rng.random() < 0.08:
        view = view.convert("L").convert("RGB")
    if rng.random() < 0.1:
        view = view.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5))))
    return view
