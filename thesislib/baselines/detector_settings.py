"""How the pipeline's detector is set: on training photos, as all else that is learned from them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from thesislib.baselines.two_stage import calibrate
from thesislib.data.columns import BOX
from thesislib.data.loading import Photo
from thesislib.metrics.boxes import BoxCalibration, apply_box_calibration, box_iou
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.matching import match_at

UPSAMPLINGS = (0, 1)
LOWEST = -1.0  # threshold of the search; the detector's margins of faces are seldom below it
THRESHOLDS = tuple(round(LOWEST + step / 10, 1) for step in range(16))  # up to 0.5
FALSE_BOXES = 0.1  # a photo, at most
USUAL = 0.0  # dlib's own threshold, and the one at which boxes' framing is fitted


class DetectorSettings(NamedTuple):
    """How dlib's detector searches.

    Attributes:
        upsampling: how often the photo is doubled before the search.
        threshold: of the SVM's margin; what lies below is no face. dlib's own is 0.
    """

    upsampling: int
    threshold: float


def framing_of(detections: pd.DataFrame, photos: Sequence[Photo]) -> BoxCalibration:
    """From dlib's framing of a face to the annotators', see :func:`calibrate`.

    Boxes stay as they are where none of the faces was found: they may be too small.
    """
    try:
        return calibrate(detections, photos)
    except NotSupportedError:
        return BoxCalibration(dx=0.0, dy=0.0, sw=1.0, sh=1.0)


def operating_points(searched: Mapping[int, pd.DataFrame], photos: Sequence[Photo]) -> pd.DataFrame:
    """What the detector finds at each of its settings.

    Args:
        searched: by upsampling, detections with margins down to :data:`LOWEST`, as of
            :func:`thesislib.data.detector.detections_table`.
        photos: annotations of the photos; of others' detections nothing is said.

    Returns:
        one row per setting: ``upsampling, threshold, recall_50`` (share of the faces found with
        an IoU of at least 0.5, boxes calibrated) and ``false_boxes`` (boxes on no face, a photo).
    """
    rows = []
    for upsampling, detections in searched.items():
        by_photo = dict(iter(detections.groupby("photo")))
        framing = framing_of(detections[detections["score"] > USUAL], photos)
        scores, hits, faces = [np.empty(0)], [np.empty(0, bool)], 0
        for photo in photos:
            faces += len(photo.boxes)
            if (found := by_photo.get(photo.name)) is None:
                continue
            boxes = apply_box_calibration(found[BOX].to_numpy(np.float32), framing)
            scores.append(found["score"].to_numpy(float))
            hits.append(match_at(box_iou(boxes, photo.boxes.numpy()), scores[-1], 0.5) >= 0)
        score, hit = np.concatenate(scores), np.concatenate(hits)
        # A box that scores less never takes the face of one that scores more, so that a higher
        # threshold leaves the matches above it as they are.
        for threshold in THRESHOLDS:
            above = score > threshold
            recall = (hit & above).sum() / max(1, faces)
            wrong = (~hit & above).sum() / max(1, len(photos))
            rows.append((upsampling, threshold, recall, wrong))
    return pd.DataFrame(rows, columns=["upsampling", "threshold", "recall_50", "false_boxes"])


def choose(points: pd.DataFrame) -> DetectorSettings:
    """The setting that finds most faces with at most :data:`FALSE_BOXES` false boxes a photo.

    Of several the quickest, and of these the one with the highest threshold. Where all settings
    have more false boxes, the one with fewest. (False positives per image are how detectors'
    operating points are told: Dollar et al. 2012, Pedestrian Detection, section 4.2.)

    Args:
        points: from :func:`operating_points`, at least one.
    """
    allowed = points[points["false_boxes"] <= FALSE_BOXES]
    if not len(allowed):
        allowed = points[points["false_boxes"] == points["false_boxes"].min()]
    order = ["recall_50", "upsampling", "threshold"]
    best = allowed.sort_values(order, ascending=[False, True, False]).iloc[0]
    return DetectorSettings(int(best["upsampling"]), float(best["threshold"]))
