"""Non-maximum suppression against a loop, on any boxes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from thesislib.metrics.boxes import box_iou
from thesislib.models import decode  # noqa: F401 # registers the operator

# Whole pixels: overlaps of exactly the threshold come up, too. Scores differ, and none is the
# threshold, which rounds to float32 where it is compared.
places = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)
photos = st.lists(st.tuples(places, st.integers(0, 99)), max_size=12, unique_by=lambda one: one[1])


def naive(boxes, scores, iou, threshold, most):
    kept = []
    for at in sorted(range(len(boxes)), key=lambda at: -scores[at]):
        overlaps = [box_iou(boxes[at : at + 1], boxes[k : k + 1])[0, 0] for k in kept]
        if scores[at] > threshold and all(overlap <= iou for overlap in overlaps):
            kept.append(at)
    return kept[:most]


@given(
    photos, st.sampled_from([0.2, 0.45, 0.7]), st.sampled_from([0.105, 0.505]), st.integers(1, 5)
)
def test_suppression_of_any_boxes_is_the_loop(faces, iou, threshold, most):
    boxes = torch.tensor([place for place, _ in faces], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = torch.tensor([score / 100 for _, score in faces], dtype=torch.float32)
    found = torch.ops.thesislib.suppress(boxes[None], scores[None], iou, threshold, most)
    assert found[:, 0].tolist() == [0] * len(found)
    assert found[:, 1].tolist() == naive(boxes.numpy(), scores.tolist(), iou, threshold, most)
