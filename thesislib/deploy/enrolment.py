"""Photos by which people are enrolled: whose face in them is meant, and which cannot serve."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thesislib.data.images import PhotoError, read_photo
from thesislib.data.names import MOST_TOLD, told_names
from thesislib.deploy.quality import doubts, told
from thesislib.engine.evaluate import SCORE_THRESHOLD
from thesislib.engine.predict import Photo, Photos, System, one_by_one, predict
from thesislib.faces import Face, check_score_threshold

FACE_SCORE = 0.5  # at which a detection is as likely a face as not
# A photo of a person shows others behind them: theirs is the face whose side is so many times that
# of any other.
FOREMOST = 1.5


def only_face(faces: Sequence[Face], photo: Photo, at: int, score_threshold: float) -> Face:
    """The one face of a photo.

    Args:
        faces: found in it, best first, whatever their scores.
        photo: as it was given.
        at: its number.
        score_threshold: detections with scores up to this one are no faces.

    Raises:
        ValueError: no face or several; the photo is named.
    """
    sure = [face for face in faces if face.score > score_threshold]
    if not sure:
        best = f"; the best detection has {faces[0].score:.2f}" if faces else ""
        raise ValueError(
            f"{_name_of(photo, at)}: no face with a score above {score_threshold:g}{best}"
        )
    if len(sure) > 1:
        raise ValueError(
            f"{_name_of(photo, at)}: {len(sure)} faces, and one was expected; cut it out"
        )
    return sure[0]


def _name_of(photo: Photo, at: int) -> str:
    if isinstance(photo, np.ndarray):
        return f"photo {at} (an array of shape {list(photo.shape)})"
    return str(photo) if isinstance(photo, str | Path) else f"photo {at} (an image)"


def faces_alone(net: System, photos: Photos, score_threshold: float) -> NDArray[np.float32]:
    """Embeddings of the only faces of photos.

    Args:
        net: what finds faces.
        photos: as for :func:`thesislib.engine.predict.predict`.
        score_threshold: detections with scores up to this one are no faces.

    Returns:
        float32 [n, E], in the photos' order.

    Raises:
        PhotoError: a photo cannot be read.
        TypeError: neither path, array nor PIL image.
        ValueError: no photos, a threshold out of range, or a photo with no face or several; it is
            named.
    """
    check_score_threshold(score_threshold)
    several = one_by_one(photos)
    if not several:
        raise ValueError("photos: none were given")
    # Low, so that an error can tell how close the best detection came.
    found = predict(net, several, min(SCORE_THRESHOLD, score_threshold))
    embeddings: list[Any] = [
        only_face(faces, photo, at, score_threshold).embedding
        for at, (photo, faces) in enumerate(zip(several, found, strict=True))
    ]
    return np.stack(embeddings)


class Remark(NamedTuple):
    """A photo by which nobody should be enrolled.

    Attributes:
        photo: the file.
        reason: why.
        enrolled: whether it was used all the same, as there is no better one of the person.
    """

    photo: Path
    reason: str
    enrolled: bool = False

    def __str__(self) -> str:
        what = (
            "is used, as there is no better one of this person" if self.enrolled else "is left out"
        )
        return f"{self.photo} {what}: {self.reason}"


def faces_of_people(
    net: System,
    photos: Sequence[Path],
    person: Callable[[Path], str],
    score_threshold: float,
    progress: bool = False,
) -> tuple[list[str], NDArray[np.float32], list[Remark]]:
    """Faces by which people are enrolled, and photos by which nobody should be.

    Args:
        net: what finds faces.
        photos: files, and folders of them.
        person: whose a photo is, by its file.
        score_threshold: detections with scores up to this one are no faces.
        progress: show a bar.

    Returns:
        n names, embeddings float32 [n, E] of their faces, and what is to be said of photos.

    Raises:
        PhotoError: a file cannot be read; those of folders are told in place of that.
        ValueError: no photos, or none of them can serve; a threshold out of range.
    """
    check_score_threshold(score_threshold)
    files = [Path(str(file)) for file in one_by_one(list(photos))]
    least = min(SCORE_THRESHOLD, score_threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # those that cannot be read are told below
        found = predict(net, list(photos), least, progress=progress)
    # Of a net that takes a closer look that of the closest.
    read_px = getattr(net, "most_input_px", getattr(net, "input_px", None))
    chosen: list[tuple[str, Face, Path, str]] = []  # with what speaks against it
    remarks: list[Remark] = []
    for photo, faces in zip(files, found, strict=True):
        face = foremost([face for face in faces if face.score > score_threshold])
        if isinstance(face, str):
            remarks.append(Remark(photo, face if faces else why_none(photo)))
        else:
            poor = doubts(read_photo(photo), face, read_px)
            chosen.append((person(photo), face, photo, told(poor)))
    if not chosen:
        why = "; ".join(f"{one.photo}: {one.reason}" for one in remarks[:MOST_TOLD])
        raise ValueError(
            f"{told_names([str(photo) for photo in photos])}: nobody can be enrolled. {why}"
        )
    good = {name for name, _, _, poor in chosen if not poor}
    remarks += [
        Remark(photo, poor, enrolled=name not in good) for name, _, photo, poor in chosen if poor
    ]
    used = [(name, face) for name, face, _, poor in chosen if not poor or name not in good]
    vectors: list[Any] = [face.embedding for _, face in used]
    return [name for name, _ in used], np.stack(vectors), sorted(remarks)


def why_none(photo: Path) -> str:
    """Why no face was found in a photo: it cannot be read, or shows none."""
    try:
        read_photo(photo)
    except PhotoError as error:
        return str(error).split(": ", 1)[-1]
    return "no face was found"


def person_of(photo: Path, folder: Path) -> str:
    """Whose photo it is: of the folder in ``folder`` that holds it, or of its own name.

    >>> person_of(Path("people/Anna/1.jpg"), Path("people"))
    'Anna'
    >>> person_of(Path("people/Boris.jpg"), Path("people"))
    'Boris'
    """
    first, *inner = photo.relative_to(folder).parts
    return first if inner else photo.stem


def foremost(faces: Sequence[Face]) -> Face | str:
    """The face that a photo of one person is of, or why there is none.

    Args:
        faces: of the photo.
    """
    if not faces:
        return "no face was found"
    sides = [face.side for face in faces]
    order = np.argsort(sides)[::-1]
    if len(faces) > 1 and sides[order[0]] < FOREMOST * sides[order[1]]:
        return f"{len(faces)} faces, none of them clearly the largest; cut one out"
    return faces[order[0]]
