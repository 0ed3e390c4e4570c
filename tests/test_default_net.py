"""The published net: it opens by one word, is small, and says where it comes from."""

import numpy as np
import pytest

import thesislib as tl
from thesislib import paths
from thesislib.engine.checkpoint import DEFAULT, net_file
from thesislib.metrics.boxes import box_iou
from thesislib.models.heads import NOBODY
from thesislib.synthetic.scene import render_scene

FILE = net_file(DEFAULT)
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no net is published yet")


@pytest.fixture(scope="module")
def net():
    return tl.load(DEFAULT)


def test_it_is_small_and_says_what_it_learned_from(net):
    assert FILE.stat().st_size <= 12_000_000
    assert tuple(net.identities) == NOBODY
    about = net.provenance
    assert about["steps"] and about["photos"] and about["history"]
    assert 0 < net.gallery_threshold < 1
    assert f"{about['steps']}" in (paths.ROOT / "docs/model_card.md").read_text(encoding="utf-8")


def test_it_finds_people_in_a_group(net):
    photo, faces = render_scene(3, (0, 50), 0, 480, 6)
    found = net.predict_arrays([photo])[0]
    boxes = np.stack([face.box for face in faces])
    overlap = box_iou(np.stack([one.box for one in found]), boxes)
    assert (overlap.max(axis=0) >= 0.5).mean() >= 0.5
    assert all(one.landmarks.shape == (5, 2) for one in found)
    assert {len(one.embedding) for one in found} == {128}


def test_a_gallery_of_it_uses_its_threshold(net):
    gallery = tl.Gallery(net)
    assert gallery.threshold == net.gallery_threshold
    with pytest.raises(ValueError, match="the gallery is empty"):
        gallery.calibrate(None, 0.1)
    thresholds = []
    for count in (1, 20):
        people = np.random.default_rng(0).normal(size=(count, 128))
        gallery.enrol_embeddings([f"p{at}" for at in range(count)], people)
        found = gallery.calibrate(None, 0.1)
        assert found == gallery.calibration and found.people == count and found.fpir == 0.1
        thresholds.append(gallery.threshold)
    assert thresholds[0] < thresholds[1] < 1  # among more people more strangers get in
