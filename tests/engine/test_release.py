"""The published net: half precision, and a threshold chosen on strangers it has not learned."""

import numpy as np
import pytest
import torch
from conftest import face

from thesislib.data.schema import DatasetError
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.threshold import DEFAULT_THRESHOLD
from thesislib.engine import release as module
from thesislib.engine.checkpoint import CheckpointError, load_net, save_net
from thesislib.engine.release import release
from thesislib.faces import Face
from thesislib.metrics.verification import false_match_rate
from thesislib.models.joint import NOBODY, JointNet

BOX = (10, 10, 90, 95)


@pytest.fixture
def net(tmp_path):
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
    made = release(net, [folder], 7, tmp_path / "out.safetensors", progress=False)
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


def test_nothing_to_choose_on(net, write_dataset, tmp_path):
    folder = write_dataset([face("photos/1.png", "", BOX, width=100, height=100)])
    with pytest.raises(DatasetError, match="no portrait whose number is divisible by 7"):
        release(net, [folder], 7, tmp_path / "out.safetensors", progress=False)
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(CheckpointError, match="no such net"):
        release(tmp_path / "none", [folder], 7, tmp_path / "out.safetensors", progress=False)
