"""The square crop cuts and scales pixels and boxes alike, and shows a face."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes
from torchvision.tv_tensors import Image as ImageTensor

from thesislib.data.transforms import PADDING, RandomSquareCrop, scale_factors, scaled_photo


def test_the_square_crop_against_loops():
    rng = np.random.default_rng(0)
    crop = RandomSquareCrop(32, (1.0, 1.0))
    photo = torch.from_numpy(rng.integers(0, 256, (3, 32, 50), dtype=np.uint8))
    boxes = torch.tensor([[20.0, 5.0, 30.0, 25.0], [0.0, 0.0, 50.0, 32.0]])
    for left in (0, 7, 18):
        params = {"top": 0, "left": left, "side": 32}
        cut = crop.transform(ImageTensor(photo), params)
        for y in range(32):
            for x in range(0, 32, 5):
                assert cut[:, y, x].tolist() == photo[:, y, x + left].tolist()
        moved = crop.transform(
            BoundingBoxes(boxes, format="XYXY", canvas_size=(32, 50)), params
        ).tolist()
        assert moved == [[x1 - left, y1, x2 - left, y2] for x1, y1, x2, y2 in boxes.tolist()]


def test_a_crop_larger_than_the_photo_is_padded_with_grey():
    crop = RandomSquareCrop(40, (2.0, 2.0))
    white = ImageTensor(torch.full((3, 20, 30), 255, dtype=torch.uint8))
    cut = crop.transform(white, {"top": -6, "left": -3, "side": 40})
    for y in range(40):
        for x in range(40):
            inside = 6 <= y < 26 and 3 <= x < 33
            assert cut[:, y, x].tolist() == [255 if inside else PADDING] * 3


@pytest.mark.parametrize(("scale", "size"), [((0.5, 0.5), 32), ((1.0, 1.0), 64), ((1.5, 1.5), 96)])
def test_the_square_is_the_asked_for_share_of_the_short_side(scale, size):
    crop = RandomSquareCrop(10, scale)
    photo = ImageTensor(torch.zeros((3, 64, 100), dtype=torch.uint8))
    lefts, tops = set(), set()
    for seed in range(60):
        torch.manual_seed(seed)
        params = crop.make_params([photo])
        assert params["side"] == size
        assert min(0, 100 - size) <= params["left"] <= max(0, 100 - size)
        assert min(0, 64 - size) <= params["top"] <= max(0, 64 - size)
        lefts.add(params["left"])
        tops.add(params["top"])
    assert max(lefts) - min(lefts) > 0.8 * abs(100 - size) - 2
    assert max(tops) - min(tops) > 0.8 * abs(64 - size) - 2


def test_a_crop_holds_the_centre_of_one_of_the_faces():
    crop = RandomSquareCrop(10, (0.5, 0.6))
    photo = ImageTensor(torch.zeros((3, 64, 96), dtype=torch.uint8))
    faces = [[20.0, 30.0, 40.0, 50.0], [60.0, 20.0, 80.0, 30.0]]
    boxes = BoundingBoxes(torch.tensor(faces), format="XYXY", canvas_size=(64, 96))
    held = Counter()
    for seed in range(100):
        torch.manual_seed(seed)
        params = crop.make_params([photo, boxes])
        left, top, side = params["left"], params["top"], params["side"]
        holds = [
            left <= (x1 + x2) / 2 < left + side and top <= (y1 + y2) / 2 < top + side
            for x1, y1, x2, y2 in faces
        ]
        assert any(holds)
        held.update(face for face, shown in enumerate(holds) if shown)
    assert min(held[0], held[1]) > 30


def test_a_photo_that_is_a_view_or_not_to_be_written_to_is_scaled():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    wanted = scaled_photo(photo, 20)
    assert wanted.shape == (3, 20, 30) and wanted.dtype == torch.uint8
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    torch.testing.assert_close(scaled_photo(mirrored[:, ::-1], 20), wanted)
    photo.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(scaled_photo(photo, 20), wanted)
    box = np.array([0, 0, 30, 20]) * scale_factors(photo, (20, 30))
    assert box.tolist() == [0, 0, 60, 40]
