"""A distilled net as the one that is published: half way back to dlib's layers, in half precision,
and with its thresholds.

What users take for granted is made true here: that a score of 0.5 means a face, and that a gallery
which is told no threshold has a fair one.
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib import seeds, storage
from thesislib.data.images import read_photo
from thesislib.data.schema import DatasetError
from thesislib.engine.checkpoint import DEFAULT, DLIB, load_net, net_file, save_net, start_from
from thesislib.engine.distil import face_photos, is_left_out, is_portrait
from thesislib.engine.evaluate import SCORE_THRESHOLD
from thesislib.engine.predict import predict
from thesislib.metrics.operating_points import MIN_EXPECTED_ERRORS
from thesislib.metrics.similarity import normalise
from thesislib.metrics.verification import threshold_at
from thesislib.models.joint import JointNet

# Of dlib's own layers in the mean with those that were distilled (Wortsman et al. 2022): the former
# are nearer to dlib at true landmarks, the latter tell people apart better at the net's own.
DLIB_SHARE = 0.5
FALSE_MATCHES = 1e-2  # share of pairs of strangers that match; of dlib at its 0.6 about as many
MOST = 1000  # strangers that it is chosen on: half a million pairs
FALSE_BOXES = 0.015  # per crop without a face, at a score of 0.5
RATES = 41  # of matches, in the table of strangers
TRIES = 30  # to find a crop without a face in a scene


def release(
    net: Path | str,
    photos: Sequence[Path | str],
    leave_out: int,
    *,
    scenes: Sequence[Path | str] = (),
    out: Path | str = DEFAULT,
    seed: int = 0,
    progress: bool = True,
) -> JointNet:
    """Write a distilled net with the threshold that a gallery uses when it is told none.

    The layers that read a face become the mean of the distilled ones and dlib's own.
    Confidences are shifted, all alike, so that at a score of 0.5 there are three boxes in two
    hundred crops without a face.

    Args:
        net: file or folder of a net that :func:`thesislib.engine.distil.distil` made.
        photos: folders of portraits, no two of which show one person.
        leave_out: the photos whose number is divisible by this, from which the net has not
            learned, are those the threshold is chosen on.
        scenes: folders of scenes, from whose left-out photos the crops without a face are cut;
            without any, confidences stay as they are.
        out: file to write; the published net's.
        seed: of the crops.
        progress: show a bar.

    Returns:
        the net that was written, as it is read again.

    Raises:
        CheckpointError: no such net.
        MissingExtraError, TeacherError: see :func:`thesislib.models.dlib_resnet.read_weights`.
        DatasetError: no portrait was left out, or the net finds a face in none of them.
        NotSupportedError: too few were.
        ValueError: a net that does not read faces at landmarks.
    """
    made: JointNet = copy.deepcopy(load_net(net))
    if made.embedding_source != "landmarks":
        raise ValueError(
            f"{net}: a net that reads faces at landmarks is released, not {made.embedding_source!r}"
        )
    _nearer_to_dlib(made)
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())  # what is chosen below is of the net that is read again
    shift = 0.0
    if scenes:
        shift = _shift(made, crops_without_faces(scenes, leave_out, seed), progress)
    told = portraits_left_out(made, photos, leave_out, progress)
    if all(embedding is None for embedding in told):
        raise DatasetError(f"{net}: it finds a face in none of {len(told)} portraits")
    found = np.stack([embedding for embedding in told if embedding is not None])
    names = [str(at) for at in range(len(found))][:MOST]
    threshold = threshold_at(found[:MOST], names, FALSE_MATCHES)
    found_here = {"gallery_threshold": round(threshold, 3), "confidence_shift": round(shift, 3)}
    made.provenance = {**(made.provenance or {}), **found_here}
    file = net_file(out)
    save_net(file, made, half=True)
    released = load_net(file)
    rates = strangers(released, found)
    text = rates.to_csv(index=False, lineterminator="\n")
    storage.write_text(file.with_suffix(".strangers.csv"), text)
    return released


def portraits_left_out(
    net: JointNet, photos: Sequence[Path | str], leave_out: int, progress: bool = True
) -> list[np.ndarray | None]:
    """Embeddings of the strangers that thresholds are told by.

    Args:
        net: what finds and reads them.
        photos, leave_out, progress: see :func:`release`.

    Returns:
        of each portrait whose number is divisible float [E], of its surest face; None where none
        is found.

    Raises:
        DatasetError: no such portrait.
    """
    chosen = [
        photo.path
        for photo in face_photos(photos, progress=progress)[0]
        if is_left_out(photo.path, leave_out) and is_portrait(photo)
    ]
    if not chosen:
        told = ", ".join(map(str, photos))
        raise DatasetError(f"{told}: no portrait whose number is divisible by {leave_out}")
    answers = predict(net, chosen, progress=progress)
    return [faces[0].embedding if faces else None for faces in answers]


def strangers(net: JointNet, embeddings: np.ndarray) -> pd.DataFrame:
    """How many pairs of strangers match at which threshold, for galleries without strangers at hand
    (:func:`thesislib.deploy.threshold.published_calibration`).

    Args:
        net: whose embeddings these are.
        embeddings: float [n, E], of n people.

    Returns:
        rows ``net, false_match_rate, threshold, strangers``, from one pair in ten to the rarest
        rate that ten pairs have; none of so few people that one in ten is rarer.
    """
    unit = normalise(embeddings)
    cosines = np.sort((unit @ unit.T)[np.triu_indices(len(unit), 1)])[::-1]
    fewest = np.log10(MIN_EXPECTED_ERRORS / len(cosines))
    rates = 10 ** np.linspace(-1, fewest, RATES if fewest < -1 else 0)
    # The lowest threshold at which no more than so many match.
    at = np.floor(rates * len(cosines) + 1e-9).astype(int)
    thresholds = np.nextafter(cosines[at], np.inf)
    return pd.DataFrame(
        {
            "net": net.fingerprint,
            "false_match_rate": rates.round(8),
            "threshold": thresholds.round(5),
            "strangers": len(unit),
        }
    )


def _nearer_to_dlib(net: JointNet) -> None:
    start = copy.deepcopy(net)
    start_from(start, DLIB)
    layers = start.embedding_head.state_dict()
    with torch.no_grad():
        for name, value in net.embedding_head.state_dict().items():
            value.lerp_(layers[name], DLIB_SHARE)


def crops_without_faces(
    folders: Sequence[Path | str], leave_out: int, seed: int
) -> list[np.ndarray]:
    """Squares of left-out scenes that no face and no ignored region reaches into, one a scene.

    Args:
        folders, leave_out, seed: see :func:`release`.

    Returns:
        uint8 [S, S, 3], of any sides.
    """
    crops = []
    for photo in face_photos(folders, progress=False)[0]:
        if not is_left_out(photo.path, leave_out):
            continue
        pixels = read_photo(photo.path)
        height, width = pixels.shape[:2]
        taken = np.concatenate([photo.boxes, photo.ignored])
        rng = seeds.generator(seed, "crop without a face", photo.path.name)
        for share in np.linspace(0.9, 0.2, TRIES):  # the largest that is found
            side = round(share * min(height, width))
            left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            apart = (taken[:, 0] >= left + side) | (taken[:, 2] <= left)
            apart |= (taken[:, 1] >= top + side) | (taken[:, 3] <= top)
            if apart.all():
                crops.append(pixels[top : top + side, left : left + side])
                break
    return crops


def _shift(net: JointNet, crops: Sequence[np.ndarray], progress: bool) -> float:
    """Take off the confidences what makes 0.5 the right threshold; returns it, a logit."""
    if not crops:
        return 0.0
    scores = [
        face.score
        for faces in predict(net, crops, SCORE_THRESHOLD, progress=progress)
        for face in faces
    ]
    allowed = int(FALSE_BOXES * len(crops))
    least = sorted(scores, reverse=True)[allowed] if len(scores) > allowed else 0.5
    shift = math.log(least / (1 - least))
    heads: Any = net.regression_head
    with torch.no_grad():
        for head in heads.heads:
            head.bias[4] -= shift
    return shift
