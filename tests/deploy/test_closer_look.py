"""Photos with small faces are read again, larger; two readings become one answer."""

import copy
import pickle

import numpy as np
import pytest

from thesislib.deploy import closer_look as module
from thesislib.deploy.closer_look import CloserLook, merged, with_closer_look
from thesislib.deploy.gallery import Gallery
from thesislib.engine.distil import new_student
from thesislib.engine.predict import answers_key, predict
from thesislib.faces import Face
from thesislib.models.joint import JointNet
from thesislib.profiles import PROFILES


def face(side, left=0.0, score=0.9, name=""):
    return Face(np.float32([left, 10, left + side, 10 + side]), score, name)


@pytest.fixture(scope="module")
def net():
    return new_student(PROFILES["default"], 0)


@pytest.fixture
def readings(net, monkeypatch):
    """Makes readings of a photo of 240 x 400 pixels, by the shorter side asked for; a list of those
    that were."""
    asked = []

    def of(faces):
        def predict_arrays(self, photos, score_threshold=0.5):
            asked.append(self.input_px)
            return [list(faces.get(self.input_px, [])) for _ in photos]

        monkeypatch.setattr(JointNet, "predict_arrays", predict_arrays)
        return asked

    return of


PHOTO = np.zeros((240, 400, 3), np.uint8)  # half the size that the net reads


@pytest.mark.parametrize(
    "sides, asked",
    [
        ([], [480]),
        ([60, 48], [480]),  # 96 pixels as the net sees it
        ([60, 47], [480, 960]),
        ([24], [480, 960]),
        ([60, 23], [480, 1440]),
        ([5], [480, 1440]),
    ],
)
def test_small_faces_are_read_again_as_large_as_they_need(net, readings, sides, asked):
    told = readings({480: [face(side, 70 * at) for at, side in enumerate(sides)]})
    (found,) = CloserLook(net).predict_arrays([PHOTO])
    assert told == asked
    assert sorted(np.float32([f.box[2] - f.box[0] for f in found]).tolist()) == sorted(sides)


@pytest.mark.parametrize(
    "scores, asked",
    [
        ([0.19], [480]),
        ([0.3], [480, 1440]),  # nothing is sure: the photo may be of many people
        ([0.3, 0.9], [480]),  # what is sure is large
    ],
)
def test_what_is_hardly_a_face_is_not_worth_it(net, readings, scores, asked):
    faces = [face(20, score=scores[0]), *(face(90, 100, score) for score in scores[1:])]
    told = readings({480: sorted(faces, key=lambda one: -one.score)})
    for threshold in (0.05, 0.5):
        told.clear()
        (found,) = CloserLook(net).predict_arrays([PHOTO], threshold)
        assert told == asked
        assert [one.score for one in found] == sorted(
            (score for score in scores if score > threshold), reverse=True
        )


def test_given_boxes_are_read_as_large_as_found_ones(net, monkeypatch):
    asked = []

    def embeddings_at(self, photos, boxes):
        asked.append((self.input_px, [len(own) for own in boxes]))
        return [np.full((len(own), 2), self.input_px, np.float32) for own in boxes]

    monkeypatch.setattr(JointNet, "embeddings_at", embeddings_at)
    small, large = np.float32([0, 0, 30, 30]), np.float32([0, 0, 90, 90])
    boxes = [np.stack([large, small]), large[None], np.zeros((0, 4), np.float32)]
    found = CloserLook(net).embeddings_at([PHOTO] * 3, boxes)
    assert asked == [(480, [2, 1, 0]), (960, [1])]
    assert [one[:, 0].tolist() for one in found] == [[480, 960], [480], []]


def test_it_can_be_copied_and_asked_for_photos(net, readings):
    readings({480: [face(60)]})
    copied = copy.deepcopy(Gallery(net)).net
    assert copied.fingerprint == net.fingerprint
    assert len(predict(pickle.loads(pickle.dumps(CloserLook(net))), PHOTO)) == 1


def test_a_gallery_tells_its_answers_from_those_read_once(net):
    read_once = Gallery.of_embeddings(128, net.fingerprint)
    assert Gallery(net).model == read_once.model
    assert Gallery(net).fingerprint != read_once.fingerprint


def test_small_faces_are_those_of_the_second_reading(net, readings):
    large, small = face(100, 10, 0.8, "large"), face(30, 200, 0.7, "small")
    again = [face(101, 10, 0.9, "again"), face(31, 200, 0.95, "closer"), face(8, 300, 0.6, "new")]
    readings({480: [large, small], 960: again})
    (found,) = CloserLook(net).predict_arrays([PHOTO])
    assert [one.name for one in found] == ["closer", "large", "new"]


def test_a_photo_too_large_to_be_read_again_is_read_once(net, readings, monkeypatch):
    told = readings({480: [face(20)]})
    monkeypatch.setattr(module, "MAX_SCALED_PIXELS", 960 * 1600)
    CloserLook(net).predict_arrays([PHOTO])
    assert told == [480, 960]
    monkeypatch.setattr(module, "MAX_SCALED_PIXELS", 480 * 800)
    CloserLook(net).predict_arrays([PHOTO])
    assert told == [480, 960, 480]


def test_a_face_at_the_limit_and_one_that_was_found_once_are_there_once():
    at_limit, again = face(48.1, name="first"), face(47.9, name="second")
    assert [one.name for one in merged([at_limit], [again], 48)] == ["first"]
    assert [one.name for one in merged([again], [at_limit], 48)] == ["second"]
    assert [one.name for one in merged([face(20, name="once")], [], 48)] == ["once"]
    beside = [face(20, 0, 0.5, "a"), face(20, 12, 0.6, "b")]  # they overlap, as two people do
    assert [one.name for one in merged([], beside, 48)] == ["b", "a"]
    assert merged([], [], 48) == []


def test_it_stands_for_its_net(net):
    closer = CloserLook(net)
    assert closer.fingerprint == net.fingerprint and closer.embedding_dim == 128
    assert closer.input_px == 480 and net.input_px == 480
    assert answers_key(closer) != answers_key(net)
    assert closer._larger[3].input_px == 1440
    assert closer._larger[3].backbone is net.backbone
    assert isinstance(Gallery(net).net, CloserLook)


def test_nets_that_know_faces_of_their_training_alone_are_left_as_they_are():
    grid = JointNet(["anna"], [[0.5, 0.5]], 64, "resnet18")
    assert with_closer_look(grid) is grid
    with pytest.raises(ValueError, match="embedding_source='grid': expected 'landmarks'"):
        CloserLook(grid)
