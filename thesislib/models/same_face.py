"""When two detections are of one face."""

import torch
from torchvision.ops import box_iou

from thesislib.models.decode import Detections
from thesislib.models.pyramid import POINTS

# Two boxes are of one face where they overlap by more than this, and their landmarks are nearer
# than this share of the smaller one's side. In 600 photos of groups the published net has twelve
# pairs of boxes that overlap so: the eight of one face are below 0.16, those of two people cheek to
# cheek from 0.36 on.
SAME_IOU, SAME_PLACE = 0.3, 0.2


def one_per_face(found: Detections) -> Detections:
    """Drop what is found of one face a second time.

    Of a face in profile two boxes may stay, with the hair and without, which overlap by less than
    suppression asks. Where eyes, nose and mouth of both lie in one place, they are of one face; of
    two people cheek to cheek they do not.

    Args:
        found: D detections of a batch, by photo, highest score first, with landmarks.

    Returns:
        those without a surer one in the same photo that overlaps by more than ``SAME_IOU`` and
        whose landmarks lie within ``SAME_PLACE`` of the smaller box's side, on average.
    """
    assert found.landmarks is not None
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(dim=1).sqrt()
    apart = torch.zeros_like(sides[:, None] + sides)
    for points in found.landmarks.unbind(dim=1):  # one at a time: D x D numbers are enough
        apart = apart + (points[:, None] - points).square().sum(dim=2).sqrt()
    near = apart / POINTS <= SAME_PLACE * torch.minimum(sides[:, None], sides)
    same = near & (box_iou(found.boxes, found.boxes) > SAME_IOU)
    same &= found.photo[:, None] == found.photo
    kept = ~same.tril(-1).any(dim=1)
    photo, place, boxes, scores = (value[kept] for value in found[:4])
    return Detections(photo, place, boxes, scores, found.landmarks[kept])
