"""Who is in a gallery and who is recognised; what it refuses; what it leaves on disk."""

import errno
import json

import numpy as np
import pytest
import torch
from conftest import DEVICES, PARTY, face, noise, thin_net
from people import DIMENSION, people, probes
from PIL import Image
from safetensors.numpy import load_file, save_file

import thesislib as tl
from thesislib import storage
from thesislib.baselines.two_stage import TwoStage
from thesislib.data.columns import BOX
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.schema import read_dataset
from thesislib.deploy.gallery import EmbeddingsOnly, Gallery
from thesislib.deploy.threshold import DEFAULT_THRESHOLD, Calibration
from thesislib.engine import checkpoint
from thesislib.engine.checkpoint import CheckpointError
from thesislib.engine.embed import annotated_faces, embed
from thesislib.faces import Face
from thesislib.metrics.boxes import BoxCalibration
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.identification import fnir_at_fpir, open_set
from thesislib.models.face_classifier import FaceClassifier


@pytest.fixture
def empty():
    return Gallery.of_embeddings(DIMENSION, "net 1")


@pytest.fixture
def full(empty):
    empty.enrol_embeddings(*people())
    return empty


class Painted:
    """In place of a net: a photo's faces are where its top row says, one pixel each.

    Red is the score, green and blue the embedding.
    """

    embedding_dim, fingerprint = 2, "painted"

    def predict_arrays(self, photos, score_threshold):
        return [
            [
                Face(
                    np.float32([at, 0, at + 1, 1]),
                    pixel[0] / 255,
                    "as the net says",
                    1.0,
                    np.float32(pixel[1:]) / np.linalg.norm(pixel[1:]),
                )
                for at, pixel in enumerate(photo[0].astype(float))
                if pixel[0] / 255 > score_threshold
            ]
            for photo in photos
        ]


def photo_of(*faces):
    photo = np.zeros((3, max(1, len(faces)), 3), np.uint8)
    for at, (score, *embedding) in enumerate(faces):
        photo[0, at] = [round(255 * score), *embedding]
    return photo


@pytest.fixture
def painted():
    gallery = Gallery(Painted())
    gallery.enrol("Anna", photo_of((0.9, 200, 0)))
    gallery.enrol("Boris", [photo_of((0.8, 0, 200)), photo_of((0.8, 30, 200), (0.3, 200, 0))])
    return gallery


# Who is in it


def test_who_is_enrolled_is_identified(full):
    names, embeddings = people()
    found, scores = full.identify(embeddings, threshold=1 - 1e-9)
    assert found == names
    np.testing.assert_allclose(scores, 1, atol=1e-9)
    assert len(full) == len(names) and full.identities == list(dict.fromkeys(names))


def test_who_is_removed_is_unknown(full):
    names, embeddings = people()
    full.remove("p003")
    found, _ = full.identify(embeddings, threshold=1 - 1e-9)
    assert found == ["" if name == "p003" else name for name in names]
    with pytest.raises(ValueError, match="name: 'p003' is not enrolled"):
        full.remove("p003")


def test_one_embedding_or_several_one_person_or_several():
    one, other = (Gallery.of_embeddings(2, "net 1") for _ in range(2))
    one.enrol_embeddings("ann", [3, 4])
    one.enrol_embeddings("ann", torch.tensor([[1.0, 0.0]]))
    one.enrol_embeddings("bob", np.float32([[0, 2]]))
    other.enrol_embeddings(["ann", "ann", "bob"], [[3, 4], [1, 0], [0, 2]])
    asked = probes(9, 0, 2)
    assert one.search(asked, 2)[0] == other.search(asked, 2)[0]
    assert one.identities == other.identities == ["ann", "bob"]


def test_photos_are_enrolled_in_every_form(painted, tmp_path):
    wanted = [("Anna", 1), ("Boris", 2)]
    assert [(name, painted.templates.counts[name]) for name in painted.identities] == wanted
    folder = tmp_path / "Анна Ким"
    folder.mkdir()
    for at in range(3):
        Image.fromarray(photo_of((0.9, 100, 100 + at))).save(folder / f"{at}.png")
    files = sorted(folder.iterdir())
    images = [Image.open(file) for file in files]
    for photos in (folder, [folder], str(folder), files, images, folder / "0.png"):
        gallery = Gallery(Painted())
        gallery.enrol("Анна Ким", photos)
        assert gallery.identities == ["Анна Ким"]
        assert len(gallery) == (1 if photos == folder / "0.png" else 3)


def test_a_photo_with_no_face_or_several_is_refused_by_name(painted, tmp_path):
    path = tmp_path / "party.png"
    Image.fromarray(photo_of((0.9, 1, 2), (0.8, 3, 4))).save(path)
    good = photo_of((0.9, 1, 2))
    for photos, message in (
        ([good, path], rf"^{path}: 2 faces, and one was expected"),
        ([good, photo_of()], r"^photo 1 \(an array of shape \[3, 1, 3\]\): no face with a score "),
        (Image.fromarray(photo_of()), r"^photo 0 \(an image\): no face with a score "),
        (photo_of((0.4, 1, 2), (0.2, 1, 2)), r"no face .* above 0\.5; the best .* has 0\.40$"),
        ([], "photos: none were given"),
    ):
        with pytest.raises(ValueError, match=message):
            painted.enrol("Clara", photos)
    with pytest.raises(PhotoError, match=r"nowhere\.jpg"):
        painted.enrol("Clara", [good, tmp_path / "nowhere.jpg"])
    with pytest.raises(ValueError, match="name: this is no name: ''"):
        painted.enrol("", good)
    with pytest.raises(ValueError, match="score_threshold: not a number"):
        painted.enrol("Clara", good, score_threshold=float("nan"))
    assert painted.identities == ["Anna", "Boris"] and len(painted) == 3
    painted.enrol("Clara", photo_of((0.4, 1, 2)), score_threshold=0.3)
    assert "Clara" in painted.identities


# Who it is


def test_faces_of_photos_bear_the_gallery_s_names(painted, tmp_path):
    path = tmp_path / "party.png"
    Image.fromarray(photo_of((0.9, 0, 90), (0.7, 90, 0), (0.6, 90, 90), (0.4, 90, 0))).save(path)
    painted.threshold = 0.9
    faces = painted.recognise(str(path))
    assert [face.name for face in faces] == ["Boris", "Anna", ""]
    found, scores = painted.identify([face.embedding for face in faces])
    assert [face.name for face in faces] == found
    np.testing.assert_allclose([face.name_score for face in faces], scores)
    assert [face.box[0] for face in faces] == [0, 1, 2]
    several = painted.recognise([photo_of(), path], score_threshold=0.3)
    assert [len(found) for found in several] == [0, 4]
    kept = painted.recognise(tmp_path, out=tmp_path / "out")
    assert [face.name for face in kept[0]] == ["Boris", "Anna", ""]


def test_answers_of_another_gallery_are_not_taken_for_its_own(painted, tmp_path):
    path = tmp_path / "party.png"
    Image.fromarray(photo_of((0.9, 0, 90))).save(path)
    painted.recognise([path], out=tmp_path / "out")
    before = painted.fingerprint
    for change in (
        lambda: setattr(painted, "threshold", 0.7),
        lambda: painted.enrol_embeddings("Clara", [1, 1]),
        lambda: painted.remove("Clara") or painted.remove("Boris"),
    ):
        change()
        assert painted.fingerprint != before
        with pytest.raises(CheckpointError, match="holds answers of another system"):
            painted.recognise([path], out=tmp_path / "out")


def test_the_threshold_is_the_default_then_the_calibrated_one(painted):
    assert painted.threshold == DEFAULT_THRESHOLD and painted.calibration is None
    strangers = np.stack([np.cos(np.linspace(0, 1.5, 40)), np.sin(np.linspace(0, 1.5, 40))], 1)
    calibration = painted.calibrate(strangers, 0.25)
    assert painted.threshold == calibration.threshold != DEFAULT_THRESHOLD
    painted.threshold = 0.3
    assert painted.threshold == 0.3 and painted.calibration is None


def test_a_probe_alone_or_among_others_gets_the_same(full):
    asked = probes(5, 1)
    names, scores = full.identify(asked, 0.3)
    for at in range(5):
        one, its = full.identify(asked[at], 0.3)
        assert one == names[at : at + 1] and its.tolist() == scores[at : at + 1].tolist()


def test_a_score_is_of_the_best_template_and_never_of_a_mean(empty):
    basis = np.eye(DIMENSION)
    empty.enrol_embeddings("ann", basis[:2])
    empty.enrol_embeddings("bob", 0.8 * basis[0] + 0.8 * basis[1] + 0.6 * basis[2])
    assert empty.identify(basis[0], 0.99)[0] == ["ann"]
    assert empty.identify(basis[0] + basis[1], 0.1)[0] == ["bob"]


def test_a_tie_between_people_names_neither(empty):
    basis = np.eye(DIMENSION)
    empty.enrol_embeddings("ann", [basis[0], basis[0], basis[3]])
    empty.enrol_embeddings("bob", [5 * basis[0], basis[4]])
    names, scores = empty.identify([basis[0], basis[3], basis[4]], 0.5)
    assert names == ["", "ann", "bob"] and scores.tolist() == [1, 1, 1]
    empty.remove("bob")
    assert empty.identify(basis[0], 0.5)[0] == ["ann"]


def test_embeddings_that_are_all_alike_recognise_nobody(empty):
    empty.enrol_embeddings([f"p{at}" for at in range(30)], np.ones((30, DIMENSION)))
    names, scores = empty.identify(np.ones((5, DIMENSION)), 0.5)
    assert names == [""] * 5 and scores.tolist() == [1] * 5


def test_the_threshold_itself_is_accepted(empty):
    empty.enrol_embeddings("ann", np.eye(DIMENSION)[0])
    probe = np.eye(DIMENSION)[0] + np.eye(DIMENSION)[1]
    score = empty.search(probe)[1][0, 0]
    assert empty.identify(probe, score)[0] == ["ann"]
    assert empty.identify(probe, np.nextafter(score, 2))[0] == [""]


# Calibration


def test_as_many_strangers_get_in_as_the_calibration_says(full):
    strangers = probes(200, 5)
    found = full.calibrate(strangers, 0.1)
    assert found == full.calibration
    assert found.people == 12 and found.strangers == 200 and 0 < found.fpir <= 0.1
    assert np.mean([name != "" for name in full.identify(strangers)[0]]) == found.fpir


def test_calibration_agrees_with_the_curve_of_experiment_3(full):
    names, templates = people()
    known = templates + 0.5 * np.linalg.norm(templates, axis=1, keepdims=True) * probes(
        len(names), 8
    )
    strangers = probes(200, 5)
    curve = open_set(
        np.concatenate([templates, known, strangers]),
        [*names, *names, *(f"s{at}" for at in range(200))],
        np.arange(2 * len(names) + 200) < len(names),
    )
    for fpir in (0.05, 0.1, 0.5):
        point = fnir_at_fpir(curve, fpir)
        full.calibrate(strangers, fpir)
        right = [one == name for one, name in zip(full.identify(known)[0], names, strict=True)]
        assert 1 - np.mean(right) == pytest.approx(point.fnir)
        assert 0 < point.fnir < 1


def test_a_calibration_that_is_refused_changes_nothing(full):
    with pytest.raises(NotSupportedError, match=r"fpir: 0\.05 x 199 photos of strangers"):
        full.calibrate(probes(199, 0), 0.05)
    assert full.calibration is None and full.threshold == DEFAULT_THRESHOLD


def test_a_calibration_is_of_as_many_people(full):
    full.calibrate(probes(200, 0), 0.5)
    full.enrol_embeddings("one more", probes(1, 3)[0])
    full.identify(np.ones(DIMENSION))
    full.enrol_embeddings("and another", probes(1, 4)[0])
    with pytest.raises(ValueError, match="calibrated among 12 people, and 14 are enrolled"):
        full.identify(np.ones(DIMENSION))
    full.identify(np.ones(DIMENSION), 0.5)
    full.remove("one more")
    full.identify(np.ones(DIMENSION))


# With nets and datasets


@pytest.fixture(scope="module")
def net():
    """An untrained net that finds faces everywhere; its embeddings differ from face to face."""
    net = thin_net(identities=("x", "y")).eval()
    with torch.no_grad():
        net.regression_head.bias.view(2, 5)[:, 4] = 3
        net.embedding_head.weight *= 100
    return net


@pytest.mark.parametrize("device", DEVICES)
def test_a_dataset_of_other_people_is_enrolled_and_evaluated(net, party, device):
    net = net.to(device)
    dataset = read_dataset(party)
    gallery = tl.Gallery(net, threshold=0.999)
    gallery.enrol_dataset(dataset)
    faces = annotated_faces(dataset)
    placed = ~np.isnan(embed(net, dataset)).any(axis=1)
    assert gallery.identities == sorted(PARTY)
    assert len(gallery) == ((faces["identity"] != "") & placed).sum()
    report = tl.evaluate(gallery, dataset)
    named = report.faces[report.faces["identity"] != ""]
    assert (named["oracle_identity"] == named["identity"]).mean() > 0.9
    assert set(report.faces["oracle_identity"]) <= {*PARTY, ""}
    assert set(named["predicted_identity"]) & set(PARTY)
    net.to("cpu")


def test_given_boxes_are_identified_as_embeddings_are(net, party):
    dataset = read_dataset(party)
    gallery = Gallery(net, threshold=0.99)
    gallery.enrol_dataset(dataset)
    chosen = [name for name in dataset.photos if dataset.table["photo"].eq(name).sum() > 1][:2]
    photos = [read_photo(dataset.folder / name) for name in chosen]
    rows = [dataset.table[dataset.table["photo"] == name] for name in chosen]
    boxes = [one[BOX].to_numpy(float) for one in rows]
    # Three faces in one place, of which a grid with two anchors holds two; and none.
    photos, boxes = [*photos, photos[0], photos[0]], [*boxes, boxes[0][[0, 0, 0]], boxes[0][:0]]
    found = gallery.identify_boxes(photos, boxes)
    assert [len(names) for names in found] == [len(one) for one in boxes]
    for names, vectors in zip(found, net.embeddings_at(photos, boxes), strict=True):
        for name, vector in zip(names, vectors, strict=True):
            wanted = "" if np.isnan(vector).any() else gallery.identify(vector)[0][0]
            assert name == wanted
    assert "" in found[2] and set(found[2]) != {""}


def test_a_dataset_of_nobody_known_is_refused(net, write_dataset):
    dataset = read_dataset(write_dataset([face("a.png", ""), face("b.png", "")]))
    with pytest.raises(ValueError, match="people: no face of anybody known"):
        Gallery(net).enrol_dataset(dataset)


def test_what_gives_no_embeddings_is_refused():
    classifier = FaceClassifier(["anna"], 64, backbone="resnet18")
    pipeline = TwoStage(classifier, "face", 0, BoxCalibration(0, 0, 1, 1))
    for net in (pipeline, "net", None):
        with pytest.raises(TypeError, match=f"net: expected one .* got {type(net).__name__}"):
            Gallery(net)


def test_a_gallery_without_a_net_takes_no_photos(full, party):
    dataset = read_dataset(party)
    for use in (
        lambda: full.recognise(noise(8, 8)),
        lambda: full.enrol("ann", noise(8, 8)),
    ):
        with pytest.raises(NotSupportedError, match="has no net to find faces in photos"):
            use()
    with pytest.raises(NotSupportedError, match="EmbeddingsOnly: gives no embeddings at given"):
        full.enrol_dataset(dataset)


# Bad input


BAD_EMBEDDINGS = [
    (np.full(DIMENSION, np.nan), "embeddings: NaN or infinite value in row 0"),
    ([np.ones(DIMENSION), np.full(DIMENSION, np.inf)], "NaN or infinite value in row 1"),
    ([np.ones(DIMENSION), np.zeros(DIMENSION)], "embeddings: row 1 is all zeros"),
    (np.ones(DIMENSION + 1), "of dimension 17, and the gallery is of 16"),
    (np.ones((0, DIMENSION + 1)), r"expected shape \[n, d\], not empty"),
    (np.ones((1, 1, DIMENSION)), r"expected shape \[n, d\]"),
    (3.0, r"expected shape \[n, d\]"),
    (["a"] * DIMENSION, "expected real numbers"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_EMBEDDINGS)
def test_bad_embeddings_are_refused_everywhere_and_change_nothing(full, bad, message):
    before = len(full)
    for use in (
        lambda: full.enrol_embeddings("new", bad),
        lambda: full.search(bad),
        lambda: full.identify(bad, 0.5),
        lambda: full.calibrate(bad, 0.5),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    assert len(full) == before and "new" not in full.identities


@pytest.mark.parametrize("none", [np.ones((0, DIMENSION), np.float32), [], np.ones(0)])
def test_a_photo_without_a_face_shows_nobody(full, none):
    for names, scores in (full.identify(none, 0.5), full.search(none)):
        assert names == [] and len(scores) == 0
    for use in (lambda: full.calibrate(none, 0.5), lambda: full.enrol_embeddings("new", none)):
        with pytest.raises(ValueError, match="embeddings: expected shape"):
            use()


def test_names_that_look_alike_are_one_persons(empty):
    empty.enrol_embeddings("Андрей  Белый", np.eye(DIMENSION)[0])
    empty.enrol_embeddings(["Андрей Белый", "Анна"], np.eye(DIMENSION)[1:3])
    assert empty.identities == ["Андрей Белый", "Анна"]
    assert empty.identify(np.eye(DIMENSION)[:2], 0.5)[0] == ["Андрей Белый"] * 2
    empty.remove(" Андрей Белый")
    assert empty.identities == ["Анна"]


@pytest.mark.parametrize("name", ["", None, 3, " ", "\u00a0"])
def test_what_is_no_name_is_refused(full, name):
    before = len(full)
    with pytest.raises(ValueError, match="names: this is no name: "):
        full.enrol_embeddings(["new", name], np.ones((2, DIMENSION)))
    with pytest.raises(ValueError, match="model: this is no name: "):
        Gallery.of_embeddings(DIMENSION, name)
    assert len(full) == before and "new" not in full.identities


def test_arguments_of_another_type_are_named(full):
    for use, message in (
        (lambda: full.identify(np.ones(DIMENSION), "0.5"), "threshold: .* number, got '0.5'"),
        (lambda: setattr(full, "threshold", "0.5"), "threshold: expected a number"),
        (lambda: Gallery.of_embeddings(2, "net", "0.5"), "threshold: expected a number"),
        (lambda: full.calibrate(probes(200, 0), "0.1"), "fpir: expected a number, got '0.1'"),
        (lambda: full.search(np.ones(DIMENSION), 1.5), "k: expected a whole number, got 1.5"),
        (lambda: full.search(np.ones(DIMENSION), "2"), "k: expected a whole number, got '2'"),
    ):
        with pytest.raises(TypeError, match=message):
            use()


def test_other_bad_input_is_refused(full):
    with pytest.raises(ValueError, match="names: 3 for 2 embeddings"):
        full.enrol_embeddings(["a", "b", "c"], np.ones((2, DIMENSION)))
    with pytest.raises(ValueError, match="name: 'nobody' is not enrolled"):
        full.remove("nobody")
    for k in (0, 13):
        with pytest.raises(ValueError, match=f"k: {k}, and 12 people are enrolled"):
            full.search(np.ones(DIMENSION), k)
    with pytest.raises(ValueError, match="threshold: expected a cosine, -1 to 1, got nan"):
        full.identify(np.ones(DIMENSION), np.nan)
    with pytest.raises(ValueError, match="threshold: expected a cosine, -1 to 1, got 50"):
        full.threshold = 50
    with pytest.raises(ValueError, match="embedding_dim: expected at least 1, got 0"):
        Gallery.of_embeddings(0, "net 1")


def test_an_empty_gallery_knows_nobody(empty):
    for use in (
        lambda: empty.search(np.ones(DIMENSION)),
        lambda: empty.identify(np.ones(DIMENSION), 0.5),
        lambda: empty.calibrate(np.ones((200, DIMENSION)), 0.5),
        lambda: Gallery(Painted()).recognise(photo_of()),
    ):
        with pytest.raises(ValueError, match="the gallery is empty: enrol somebody first"):
            use()


# On disk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "galleries" / "people.safetensors"


def load(path, model="net 1", dimension=DIMENSION, **more):
    return Gallery.load(path, EmbeddingsOnly(dimension, model), **more)


@pytest.mark.parametrize("exact_up_to", [10**6, 0])
def test_a_gallery_comes_back_as_it_was_saved(full, path, exact_up_to):
    full.templates.exact_up_to = exact_up_to
    full.enrol_embeddings('Анна "x"\n', probes(2, 9))
    full.enrol_embeddings(["001", "NA"], probes(2, 10))
    full.remove("p003")
    full.calibrate(probes(200, 5), 0.1)
    full.save(str(path))
    again = load(str(path), exact_up_to=exact_up_to)
    asked = np.concatenate([probes(50, 1), people()[1]])
    assert again.search(asked, 5)[0] == full.search(asked, 5)[0]
    assert (again.search(asked, 5)[1] == full.search(asked, 5)[1]).all()
    assert again.identify(asked)[0] == full.identify(asked)[0]
    assert again.calibration == full.calibration and isinstance(again.calibration, Calibration)
    assert again.identities == full.identities and len(again) == len(full)
    assert again.fingerprint == full.fingerprint
    again.enrol_embeddings("new", probes(1, 7))
    again.remove("p005")
    assert again.identify(probes(1, 7), 0.999)[0] == ["new"]


def test_a_threshold_comes_back(empty, path):
    empty.threshold = 0.25
    empty.save(path)
    again = load(path)
    assert len(again) == 0 and again.calibration is None and again.threshold == 0.25
    again.enrol_embeddings("ann", np.ones(DIMENSION))
    assert again.identify(np.ones(DIMENSION), 0.9)[0] == ["ann"]


def test_a_gallery_is_opened_with_the_net_that_made_it(net, path, party):
    gallery = Gallery(net)
    gallery.enrol_dataset(read_dataset(party))
    gallery.save(path)
    photo = noise(72, 96)
    found = Gallery.load(path, net).recognise(photo)
    assert [face.name for face in found] == [face.name for face in gallery.recognise(photo)]
    with pytest.raises(CheckpointError, match=r"people\.safetensors: holds embeddings of another"):
        Gallery.load(path, thin_net(seed=1))


def test_a_loaded_gallery_does_not_follow_its_file(full, path):
    full.save(path)
    again = load(path)
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(path.stat().st_size // 4))
    asked = people()[1]
    assert again.identify(asked, 0.999)[0] == full.identify(asked, 0.999)[0]


def refusal(path, **other):
    with pytest.raises(CheckpointError) as caught:
        load(path, **other)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_gallery_of_another_model_or_dimension_is_refused(full, path):
    full.save(path)
    assert "of another net (model net 1, not net 2)" in refusal(path, model="net 2")
    assert "of another net (embedding_dim 16, not 8)" in refusal(path, dimension=8)


def test_a_missing_gallery_is_refused(path):
    assert "no such gallery" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_gallery_is_refused(full, path, share):
    full.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or not a gallery" in refusal(path)


def test_every_altered_byte_is_noticed(path):
    gallery = Gallery.of_embeddings(2, "net 1")
    gallery.enrol_embeddings(["ann", "bob"], probes(2, 0, 2))
    gallery.calibrate(probes(20, 1, 2), 0.5)
    gallery.save(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refusal(path, dimension=2)


def test_an_altered_threshold_is_noticed(full, path):
    full.calibrate(probes(200, 5), 0.1)
    full.save(path)
    tensors = load_file(path)
    header = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    metadata = json.loads(header)["__metadata__"]
    about = json.loads(metadata["about"])
    about["threshold"] = -1.0
    save_file(tensors, path, metadata={**metadata, "about": json.dumps(about)})
    assert "damaged or altered: its checksum does not fit" in refusal(path)


def test_a_net_is_no_gallery(net, path):
    net.save(path)
    assert "this is not a gallery" in refusal(path)
    checkpoint.write_tensors(path, {}, [])
    assert "this is not a gallery" in refusal(path)


def test_a_later_version_is_refused(path):
    checkpoint.write_tensors(path, {}, {"format": "thesislib gallery", "version": 2})
    assert "version 2 of the format; this code reads 1" in refusal(path)


def test_a_pickle_is_refused(path):
    path.parent.mkdir()
    torch.save({"names": []}, path)
    assert "pickle, which can carry code; it was not opened" in refusal(path)


@pytest.mark.parametrize("where", ["write", "rename"])
def test_an_interrupted_save_leaves_the_old_gallery_and_nothing_beside_it(
    full, path, monkeypatch, where
):
    full.save(path)
    before = path.read_bytes()

    def half(tensors, aside, metadata):
        aside.write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(aside))

    def interrupted(*_):
        raise KeyboardInterrupt

    if where == "write":
        monkeypatch.setattr(checkpoint, "save_file", half)
    else:
        monkeypatch.setattr(storage.os, "replace", interrupted)
    full.enrol_embeddings("new", np.ones(DIMENSION))
    with pytest.raises((OSError, KeyboardInterrupt)):
        full.save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    assert "new" not in load(path).identities


def test_two_faces_of_a_photo_are_two_people(painted):
    painted.threshold = 0.8
    anna, like_anna, both = (0.9, 200, 0), (0.8, 190, 40), (0.7, 140, 150)
    names = [face.name for face in painted.recognise(photo_of(anna, like_anna, both))]
    # Who is most like her is Anna; a second who is like her is nobody.
    assert names == ["Anna", "", "Boris"]
    alone = painted.recognise([photo_of(like_anna), photo_of(anna)])
    assert [faces[0].name for faces in alone] == ["Anna", "Anna"]
