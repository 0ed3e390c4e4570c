"""The published net: half precision, and a threshold chosen on strangers it has not learned."""

import numpy as np
import pytest
import torch
from conftest import face

from thesislib.data.images import read_photo
from thesislib.data.schema import DatasetError
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.threshold import DEFAULT_THRESHOLD
from thesislib.engine import release as module
from thesislib.engine.checkpoint import CheckpointError, load_net, save_net
from thesislib.engine.release import crops_without_faces, release, strangers
from thesislib.faces import Face
from thesislib.metrics.verification import false_match_rate
from thesislib.models.heads import NOBODY
from thesislib.models.joint import JointNet

BOX = (10, 10, 90, 95)


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "start_from", lambda made, start: None)  # dlib's layers, as it were
    torch.manual_seed(0)
    settings = {"backbone": "dlib", "stride": 4, "pooling": 1, "embedding_dim": 128}
    made = JointNet(list(NOBODY), np.empty((0, 2)), embedding_source="landmarks", **settings)
    made.provenance = {"seed": 0}
    save_net(tmp_path / "net", made)
    return tmp_path / "net"


def test_the_threshold_is_chosen_on_photos_that_were_left_out(
    net, write_dataset, tmp_path, monkeypatch
):
    rows = [face(f"photos/{at}.png", "", BOX, width=100, height=100) for at in range(1, 60)]
    folder = write_dataset(rows)
    vectors = np.random.default_rng(0).normal(size=(60, 128)).astype(np.float32)

    def told(made, files, progress):
        numbers = [int(file.stem) for file in files]
        assert numbers == [7, 14, 21, 28, 35, 42, 49, 56]
        faces = [[Face(np.array(BOX), 0.9, embedding=vectors[at])] for at in numbers]
        return [*faces[:-1], []]  # a face that is not found is passed over

    monkeypatch.setattr(module, "predict", told)
    monkeypatch.setattr(module, "FALSE_MATCHES", 0.5)
    made = release(net, [folder], 7, out=tmp_path / "out.safetensors", progress=False)
    strangers = vectors[[7, 14, 21, 28, 35, 42, 49]]
    names = list("abcdefg")
    assert 0.4 < false_match_rate(strangers, names, made.gallery_threshold) <= 0.55
    assert made.provenance["seed"] == 0
    # Half the bytes, and the very weights that are read again.
    sizes = [
        (net / "net.safetensors").stat().st_size,
        (tmp_path / "out.safetensors").stat().st_size,
    ]
    assert sizes[1] < 0.51 * sizes[0]
    whole = load_net(net).state_dict()
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, whole[name], atol=1e-3, rtol=1e-3)
    assert Gallery(made).threshold == made.gallery_threshold
    assert Gallery(made, 0.9).threshold == 0.9
    assert Gallery(load_net(net)).threshold == DEFAULT_THRESHOLD


def test_strangers_match_as_rarely_as_a_loop_counts(net):
    vectors = np.random.default_rng(0).normal(size=(60, 8))
    made = load_net(net)
    table = strangers(made, vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = [float(unit[i] @ unit[j]) for i in range(60) for j in range(i)]
    assert set(table["net"]) == {made.fingerprint} and set(table["strangers"]) == {60}
    for row in table.itertuples():
        matching = sum(cosine >= row.threshold - 1e-5 for cosine in cosines)
        assert matching == pytest.approx(row.false_match_rate * len(cosines), abs=1)
    assert table["false_match_rate"].iloc[0] == 0.1
    assert table["false_match_rate"].iloc[-1] == pytest.approx(10 / len(cosines))
    assert len(strangers(made, vectors[:14])) == 0  # 91 pairs


def test_layers_that_read_faces_are_the_mean_with_dlibs(net, monkeypatch):
    def dlib(made, start):
        assert start == "dlib"
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.fill_(3.0)

    monkeypatch.setattr(module, "start_from", dlib)
    made, before = load_net(net), load_net(net).state_dict()
    module._nearer_to_dlib(made)
    for name, value in made.state_dict().items():
        changed = name.startswith("embedding_head.")
        torch.testing.assert_close(value, (before[name] + 3) / 2 if changed else before[name])


def test_nothing_to_choose_on(net, write_dataset, tmp_path):
    folder = write_dataset([face("photos/1.png", "", BOX, width=100, height=100)])
    with pytest.raises(DatasetError, match="no portrait whose number is divisible by 7"):
        release(net, [folder], 7, out=tmp_path / "out.safetensors", progress=False)
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(CheckpointError, match="no such net"):
        release(tmp_path / "none", [folder], 7, out=tmp_path / "out.safetensors", progress=False)


def test_nets_that_cannot_be_released(net, write_dataset, tmp_path, monkeypatch):
    folder = write_dataset([face("photos/7.png", "", BOX, width=100, height=100)])
    monkeypatch.setattr(module, "predict", lambda made, photos, **more: [[] for _ in photos])
    with pytest.raises(DatasetError, match="net: it finds a face in none of 1 portraits"):
        release(net, [folder], 7, out=tmp_path / "out.safetensors", progress=False)
    grid = JointNet(list(NOBODY), [[20.0, 20.0]], backbone="resnet18")
    save_net(tmp_path / "grid", grid)
    with pytest.raises(ValueError, match="grid: a net that reads faces at landmarks is released"):
        release(tmp_path / "grid", [folder], 7, out=tmp_path / "out.safetensors", progress=False)
    assert not (tmp_path / "out.safetensors").exists()


def test_crops_reach_into_no_face(write_dataset):
    rows = [face("photos/7.png", "", (60, 60, 90, 100), width=200, height=160)]
    rows += [face("photos/7.png", "", (150, 20, 151, 21), width=200, height=160)]  # too small
    rows += [face("photos/8.png", "", (60, 60, 90, 100), width=200, height=160)]  # not left out
    rows += [face("photos/14.png", "", (1, 1, 199, 159), width=200, height=160)]  # full
    folder = write_dataset(rows)
    (crop,) = crops_without_faces([folder], 7, seed=0)
    photo = read_photo(folder / "photos/7.png")
    side = len(crop)
    windows = np.lib.stride_tricks.sliding_window_view(photo[..., 0], (side, side))
    top, left = np.argwhere((windows == crop[..., 0]).all(axis=(2, 3)))[0]
    for x1, y1, x2, y2 in ((60, 60, 90, 100), (150, 20, 151, 21)):
        assert x1 >= left + side or x2 <= left or y1 >= top + side or y2 <= top
    assert side >= 0.2 * 160
    np.testing.assert_array_equal(crops_without_faces([folder], 7, seed=0)[0], crop)


def test_a_score_of_a_half_is_where_three_empty_crops_in_two_hundred_have_a_box(net, monkeypatch):
    scores = np.linspace(0.06, 0.9, 150)

    def told(made, crops, least, progress):
        return [[Face(np.zeros(4), float(score))] for score in scores] + [[]] * 50

    monkeypatch.setattr(module, "predict", told)
    made = load_net(net)
    before = [head.bias[4].item() for head in made.regression_head.heads]
    shift = module._shift(made, [np.zeros((9, 9, 3), np.uint8)] * 200, progress=False)
    after = [head.bias[4].item() for head in made.regression_head.heads]
    np.testing.assert_allclose(np.subtract(before, after), shift, rtol=1e-5)
    moved = 1 / (1 + np.exp(shift - np.log(scores / (1 - scores))))
    assert (moved > 0.5).sum() == 3  # of 200 crops
