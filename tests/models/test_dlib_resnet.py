"""dlib's recogniser rebuilt: the same numbers as dlib, and its file read with care."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import noise

from thesislib.environment import MissingExtraError
from thesislib.models import dlib_resnet
from thesislib.models.backbone import Normalise, make_backbone
from thesislib.models.dlib_resnet import (
    CHIP_PX,
    FACE_LAYERS,
    STAGES,
    TRUNK,
    TeacherError,
    copy_weights,
    dlib_stages,
    read_weights,
    weights_file,
)

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)


@pytest.fixture(scope="module")
def weights():
    return read_weights()


def chips():
    """Chips of noise at several scales, so that every stage has something to see."""
    found = []
    for seed, cell in enumerate((1, 5, 15, 50)):
        side = CHIP_PX // cell
        found.append(np.kron(noise(side, side, seed), np.ones((cell, cell, 1), np.uint8)))
    return found


@needs_weights
def test_embeddings_are_those_of_dlib(weights):
    dlib = pytest.importorskip("dlib")
    recogniser = dlib.face_recognition_model_v1(str(weights_file()))
    net = dlib_stages(STAGES, padded=False).eval()
    copy_weights(net, weights)
    for chip in chips():
        chip = np.ascontiguousarray(chip)
        wanted = np.array(recogniser.compute_face_descriptor(chip))
        with torch.inference_mode():
            photo = torch.from_numpy(chip).permute(2, 0, 1)[None]
            found = net(Normalise.of("dlib")(photo))[0].numpy()
        assert np.linalg.norm(wanted) > 0.5
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@needs_weights
def test_stages_one_after_the_other_are_the_whole(weights):
    whole = dlib_stages(STAGES, padded=False)
    first, rest = dlib_stages(TRUNK, padded=False), dlib_stages(FACE_LAYERS, padded=False)
    for net in (whole, first, rest):
        copy_weights(net, weights)
    photo = torch.rand(1, 3, CHIP_PX, CHIP_PX) - 0.5
    with torch.inference_mode():
        assert first(photo).shape == (1, 32, 35, 35)
        torch.testing.assert_close(rest(first(photo)), whole(photo))


@pytest.mark.parametrize("size", [(320, 320), (64, 96), (65, 127)])
def test_padded_maps_cover_their_photo(size):
    photo = torch.rand(1, 3, *size)
    for last, stride in (("stage4", 4), ("stage8", 8), ("stage16", 16), ("stage64", 64)):
        net = dlib_stages(STAGES[: STAGES.index(last) + 1], padded=True)
        wanted = tuple(-(-side // 4) * 4 // stride for side in size)
        assert net(photo).shape[2:] == wanted, last


def test_places_of_the_padded_map_lie_where_they_are_said_to():
    """A place of stride 8 sees pixels around (8 r + 4, 8 c + 4); its shortcut 2 before that."""
    net = dlib_stages(STAGES[:3], padded=True)
    net.stem.pool = torch.nn.AvgPool2d(3, 2, 1)  # the maximum of equal values is the first of them
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.fill_(1.0 / module.weight[0].numel())
                module.bias.zero_()
    photo = torch.zeros(1, 3, 256, 256, requires_grad=True)
    net(photo + 1)[0, :, 16, 12].sum().backward()
    seen = photo.grad[0].sum(dim=0)
    total = seen.sum()
    rows = (seen.sum(dim=1) * torch.arange(256)).sum() / total
    columns = (seen.sum(dim=0) * torch.arange(256)).sum() / total
    assert 8 * 16 + 2 <= float(rows) <= 8 * 16 + 4
    assert 8 * 12 + 2 <= float(columns) <= 8 * 12 + 4


def test_a_halving_block_by_hand():
    """Shortcut and convolution of stride 2 against loops, with dlib's zeros for what is missing."""
    block = dlib_resnet.Block(2, 3, halves=True, padded=False)
    x = torch.rand(1, 2, 8, 8)
    found = block(x)
    inner = torch.zeros(3, 4, 4)
    small = block.conv2(F.relu(block.conv1(x)))[0]
    assert small.shape == (3, 3, 3)
    for c in range(3):
        for row in range(4):
            for column in range(4):
                if row < 3 and column < 3:
                    inner[c, row, column] = small[c, row, column]
                if c < 2:
                    square = x[0, c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    inner[c, row, column] += square.mean()
    torch.testing.assert_close(found[0], F.relu(inner))


def test_unknown_stage():
    with pytest.raises(ValueError, match="'stage7' is unknown"):
        dlib_stages(("stem", "stage7"), padded=True)


def test_missing_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"thesislib\[teacher\]"):
        read_weights()


@needs_weights
@pytest.mark.parametrize("damage", ["truncated", "altered", "another"])
def test_damaged_file_is_refused(tmp_path, damage):
    content = bytearray(weights_file().read_bytes())
    if damage == "truncated":
        del content[-100_000:]
    elif damage == "altered":
        content[5_000_000] ^= 1
    else:
        content = bytearray(b"\x01\x01\x01\rloss_metric_2")
    path = tmp_path / "net.dat"
    path.write_bytes(content)
    with pytest.raises(TeacherError, match=r"net\.dat: truncated, altered or another net's"):
        read_weights(path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"none\.dat: no such file"):
        read_weights(tmp_path / "none.dat")


@needs_weights
@pytest.mark.parametrize(("stride", "grid"), [(32, 10), (64, 5)])
def test_backbone_over_a_photo_is_the_thesis_grid(weights, stride, grid):
    net = make_backbone("dlib", "dlib", stride)
    assert net(torch.rand(1, 3, 320, 320)).shape == (1, 256, grid, grid)
    assert torch.equal(net.stem.conv1.weight, weights["stem.conv1.weight"])
