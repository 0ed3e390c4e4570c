"""Similarity transforms of landmarks, and patches sampled with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thesislib.models.chips import (
    EIGHTHS,
    PATCH,
    REFERENCE,
    Refiner,
    _bands,
    chip_scales,
    chip_transforms,
    sample_patches,
    shrunken,
    stacked,
    stacked_size,
)


def turned(scale, angle, x, y):
    """The reference points under a similarity, [5, 2]."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return torch.tensor(np.array(REFERENCE) @ np.array([[c, s], [-s, c]]) + [x, y])


@given(
    st.floats(0.05, 5), st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500), st.integers(0)
)
def test_transform_is_found_again_and_is_least_squares(scale, angle, x, y, seed):
    points = turned(scale, angle, x, y)
    found = chip_transforms(points[None])[0]
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    wanted = torch.tensor([[c, -s, x], [s, c, y]])
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert float(chip_scales(points[None])) == pytest.approx(scale)

    # With noise: no similarity nearby fits better.
    rng = np.random.default_rng(seed % 1000)
    points = points + torch.tensor(rng.normal(0, scale, (5, 2)))
    found = chip_transforms(points[None])[0]
    chip = torch.cat([torch.tensor(REFERENCE, dtype=torch.float64), torch.ones(5, 1)], dim=1)

    def error(t):
        return float((chip @ t.T - points).square().sum())

    for da, db, dx, dy in rng.normal(0, 1e-3, (10, 4)) * scale:
        other = found + torch.tensor([[da, -db, dx], [db, da, dy]])
        assert error(found) <= error(other) + 1e-9


def test_patches_by_loops():
    """Each place of a patch is the map of the face's size at the photo's pixel, bilinear, zero
    outside."""
    rng = np.random.default_rng(0)
    maps = [torch.tensor(rng.normal(size=(2, 3, 5 * e, 6 * e))) for e in EIGHTHS]
    faces = (
        (0.8, 0.3, 40, 20),
        (1.17, -0.2, -30, 50),
        (1.22, 0.1, -20, 30),
        (1.7, 0, -50, -20),
        (2.5, 0.2, -99, -50),
        (3.6, 0, -99, -200),
    )
    landmarks = torch.stack([turned(*face) for face in faces])
    photo = torch.tensor([1, 0, 1, 0, 1, 0])
    features = stacked(maps)
    assert stacked_size(features) == (160, 192)
    found = sample_patches(features, photo, landmarks)
    assert found.shape == (6, 3, PATCH, PATCH)
    for face, band in enumerate((0, 0, 1, 2, 3, 4)):
        transform = chip_transforms(landmarks)[face].numpy()
        of_face = maps[band][photo[face]].numpy()
        rows, columns = of_face.shape[1:]
        for row in range(0, PATCH, 4):
            for column in range(0, PATCH, 4):
                x, y = transform @ [5 + 4 * column, 5 + 4 * row, 1] * EIGHTHS[band] / 8
                # From the photo's corner to the middle of a pixel, then to a place (4 r).
                x, y = (x - 0.5) / 4, (y - 0.5) / 4
                left, top = int(np.floor(x)), int(np.floor(y))
                wanted = np.zeros(3)
                for r, wr in ((top, 1 - (y - top)), (top + 1, y - top)):
                    for c, wc in ((left, 1 - (x - left)), (left + 1, x - left)):
                        if 0 <= r < rows and 0 <= c < columns:
                            wanted += wr * wc * of_face[:, r, c]
                got = found[face, :, row, column].numpy()
                np.testing.assert_allclose(got, wanted, atol=1e-9, rtol=1e-6)


def blank(photos=1, channels=32):
    return stacked([torch.rand(photos, channels, 5 * e, 5 * e) for e in EIGHTHS])


@given(st.floats(0.86, 4.5))
def test_a_face_is_read_near_the_size_that_the_recogniser_knows(scale):
    band = int(_bands(torch.tensor([scale]))[0])
    sizes = [scale * e / 8 for e in EIGHTHS]
    assert sizes[band] == pytest.approx(min(sizes, key=lambda size: abs(np.log(size / 1.03))))
    if scale < 4.1:
        assert 0.84 < sizes[band] < 1.27


def test_a_photo_is_shrunken_by_means():
    """A gradient stays one: pixel centres lie where they lay in the photo."""
    ramp = torch.arange(64.0).expand(1, 1, 32, 64)
    for size, eighths in zip(shrunken(ramp), EIGHTHS, strict=True):
        assert size.shape == (1, 1, 4 * eighths, 8 * eighths)
        wanted = (torch.arange(8.0 * eighths) + 0.5) * 8 / eighths - 0.5
        torch.testing.assert_close(size, wanted.expand_as(size), atol=1e-5, rtol=1e-5)


def test_no_faces():
    found = sample_patches(
        blank(channels=4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5, 2)
    )
    assert found.shape == (0, 4, PATCH, PATCH)


def test_mixed_precision_leaves_coordinates_as_they_are():
    landmarks = torch.stack([turned(1.1, 0.3, 310, 205), turned(0.9, -0.2, 401, 250)]).float()
    features = stacked([torch.rand(1, 2, 16 * e, 16 * e) for e in EIGHTHS])
    photo = torch.tensor([0, 0])
    refiner = Refiner(channels=2)
    wanted = sample_patches(features, photo, landmarks), refiner(features, photo, landmarks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sample_patches(features, photo, landmarks), refiner(features, photo, landmarks)
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1], atol=1e-3, rtol=1e-5)


def test_an_untrained_refiner_fits_the_average_face():
    """It tells the reference's landmarks, wherever the first ones put the chip."""
    landmarks = torch.stack([turned(0.8, 0.3, 40, 20), turned(1.3, -0.2, 10, 50)]).float()
    features = blank(photos=2)
    photo = torch.tensor([0, 1])
    torch.testing.assert_close(
        Refiner()(features, photo, landmarks), landmarks, atol=1e-3, rtol=1e-5
    )


def test_a_refiner_tells_landmarks_in_the_chip():
    refiner = Refiner()
    with torch.no_grad():
        refiner.points.bias.copy_(torch.arange(10.0) / 10)
    landmarks = turned(0.5, 0.4, 30, 20)[None].float()
    found = refiner(blank(), torch.tensor([0]), landmarks)[0].detach().numpy()
    transform = chip_transforms(landmarks)[0].numpy()
    for point, (x, y) in enumerate(REFERENCE):
        moved = [x + 15 * (2 * point) / 10, y + 15 * (2 * point + 1) / 10, 1]
        np.testing.assert_allclose(found[point], transform @ moved, rtol=1e-4)
