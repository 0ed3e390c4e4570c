"""A gallery against naive loops, by both engines; what it refuses; what it leaves on disk."""

import builtins
import errno
import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import noise, thin_net
from safetensors.numpy import load_file, save_file

pass
from thesislib import paths, storage
from thesislib.benchmarks.gallery import KINDS, TABLE, main, measure
from thesislib.deploy.gallery import Calibration, Gallery
from thesislib.engine.checkpoint import CheckpointError, save_checkpoint
from thesislib.engine.systems import Joint
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.identification import fnir_at_fpir, open_set

DIMENSION = 16
ENGINES = {"exact": 10**6, "faiss": 0}


def people(count=12, most=4, seed=0, dimension=DIMENSION, noise=0.5):
    """Names [n] and embeddings [n, d] of people with 1 to ``most`` photos, of any length."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"p{at:03}" for at in range(count)], rng.integers(1, most + 1, count))
    middles = {name: rng.standard_normal(dimension) for name in names}
    embeddings = [
        (middles[name] + noise * rng.standard_normal(dimension)) * rng.uniform(0.1, 10)
        for name in names
    ]
    return names, np.array(embeddings)


@pytest.fixture(params=ENGINES)
def empty(request):
    return Gallery(DIMENSION, "net 1", exact_up_to=ENGINES[request.param])


@pytest.fixture
def full(empty):
    names, embeddings = people()
    empty.enrol(list(names), embeddings)
    return empty


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (
        sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    )


def naive_search(names, templates, probe):
    """Everybody and their score, best first."""
    scores = {}
    for name, template in zip(names, templates, strict=True):
        scores[str(name)] = max(scores.get(str(name), -2), cosine(template, probe))
    return sorted(scores.items(), key=lambda one: -one[1])


def probes(count, seed, dimension=DIMENSION):
    return np.random.default_rng(seed).standard_normal((count, dimension))


# Search


def test_search_gives_what_a_loop_gives(full):
    names, templates = people()
    asked = probes(50, 1)
    for k in (1, 3, 12):
        found, scores = full.search(asked, k)
        assert scores.shape == (50, k)
        for one, its, probe in zip(found, scores, asked, strict=True):
            expected = naive_search(names, templates, probe)[:k]
            assert one == [name for name, _ in expected]
            np.testing.assert_allclose(its, [score for _, score in expected], atol=1e-6)


def test_the_blocks_of_a_search_do_not_show(full, monkeypatch):
    asked = probes(50, 1)
    found, scores = full.search(asked, 3)
    monkeypatch.setattr(gallery_module, "_BLOCK", 7 * len(full))
    monkeypatch.setattr(gallery_module, "_PROBES", 7)
    monkeypatch.setattr(gallery_module, "_ROWS", 7)
    full._coded = 0
    again, scores_again = full.search(asked, 3)
    assert again == found and (scores_again == scores).all()


def test_a_probe_alone_or_among_others_gets_the_same(full):
    asked = probes(5, 1)
    names, scores = full.identify(asked, 0.3)
    for at in range(5):
        one, its = full.identify(asked[at], 0.3)
        assert one == names[at : at + 1] and its.tolist() == scores[at : at + 1].tolist()


@pytest.mark.parametrize("dimension", [3, 64, 512, 600])
def test_codes_find_the_mates_among_many(dimension):
    names, templates = people(3000, 1, dimension=dimension)
    gallery = Gallery(dimension, "net 1", exact_up_to=0)
    gallery.enrol(list(names), templates)
    unit = templates / np.linalg.norm(templates, axis=1, keepdims=True)
    asked = unit[:200] + 0.7 * probes(200, 1, dimension) / dimension**0.5
    found = gallery.search(asked)[1][:, 0]
    gallery.exact_up_to = 3000
    assert (found == gallery.search(asked)[1][:, 0]).mean() >= 0.99


def test_codes_stand_a_mean_that_all_embeddings_share():
    names, templates = people(3000, 1, dimension=64)
    gallery = Gallery(64, "net 1", exact_up_to=0)
    gallery.enrol(list(names), templates + 20)
    asked = templates[:200] + 20 + 0.3 * probes(200, 1, 64)
    found = gallery.search(asked)[1][:, 0]
    gallery.exact_up_to = 3000
    assert (found == gallery.search(asked)[1][:, 0]).mean() >= 0.99


def test_a_large_gallery_is_searched_by_codes_and_a_small_one_is_not(monkeypatch):
    used = []
    for name in ("_by_codes", "_by_product"):
        method = getattr(Gallery, name)
        monkeypatch.setattr(
            Gallery, name, lambda *a, name=name, method=method: used.append(name) or method(*a)
        )
    gallery = Gallery(2, "net 1", exact_up_to=3)
    gallery.enrol(["a", "b", "c"], probes(3, 0, 2))
    gallery.search([1, 0])
    gallery.enrol("d", [1, 1])
    gallery.search([1, 0])
    assert used == ["_by_product", "_by_codes"]


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    gallery = Gallery(2, "net 1", exact_up_to=1)
    gallery.enrol(["a", "b"], [[1, 0], [0, 1]])
    with pytest.raises(ImportError, match=r"more than 1 templates.*pip install faiss-cpu"):
        gallery.search([1, 0])


def test_threads_of_faiss_are_left_as_they_were():
    import faiss

    before = faiss.omp_get_max_threads()
    gallery = Gallery(2, "net 1", exact_up_to=0)
    gallery.enrol(["a", "b"], [[1, 0], [0, 1]])
    gallery.search([1, 0])
    assert faiss.omp_get_max_threads() == before


# People come and go


def test_who_is_enrolled_is_identified(full):
    names, templates = people()
    found, scores = full.identify(templates, threshold=1 - 1e-9)
    assert found == list(names)
    np.testing.assert_allclose(scores, 1, atol=1e-9)
    assert len(full) == len(names) and full.identities == list(dict.fromkeys(names))


def test_who_is_removed_is_unknown_and_nobody_else_is_touched(full):
    names, templates = people()
    full.search(templates)  # so that there are codes to be kept right
    rng = np.random.default_rng(3)
    left = list(dict.fromkeys(names))
    rng.shuffle(left)
    while len(left) > 1:
        full.remove(left.pop())
        stay = np.isin(names, left)
        assert sorted(full.identities) == sorted(left) and len(full) == stay.sum()
        found, _ = full.identify(templates, threshold=1 - 1e-9)
        assert found == [str(name) if yes else "" for name, yes in zip(names, stay, strict=True)]
    full.remove(left.pop())
    assert len(full) == 0 and full.identities == []


def test_coming_and_going_in_any_order_ends_in_the_same_gallery(empty):
    rng = np.random.default_rng(0)
    inside = {}
    for step in range(300):
        if inside and rng.random() < 0.4:
            name = rng.choice(sorted(inside))
            empty.remove(name)
            del inside[name]
        else:
            name, new = f"p{rng.integers(20)}", probes(rng.integers(1, 4), step)
            empty.enrol(name, new)
            inside[name] = [*inside.get(name, []), *new]
        if inside and rng.random() < 0.3:
            k = int(rng.integers(1, len(inside) + 1))
            names = [name for name, rows in inside.items() for _ in rows]
            probe = probes(1, 1000 + step)[0]
            expected = naive_search(names, np.concatenate(list(inside.values())), probe)
            found, scores = empty.search(probe, k)
            assert found[0] == [name for name, _ in expected[:k]]
            np.testing.assert_allclose(scores[0], [s for _, s in expected[:k]], atol=1e-6)


def test_one_photo_or_several_one_person_or_several():
    one, other = Gallery(2, "net 1"), Gallery(2, "net 1")
    one.enrol("ann", [3, 4])
    one.enrol("ann", torch.tensor([[1.0, 0.0]]))
    one.enrol("bob", np.float32([[0, 2]]))
    other.enrol(["ann", "ann", "bob"], [[3, 4], [1, 0], [0, 2]])
    asked = probes(9, 0, 2)
    assert one.search(asked, 2)[0] == other.search(asked, 2)[0]
    assert one.identities == other.identities == ["ann", "bob"]


def test_a_score_is_of_the_best_template_and_never_of_a_mean(empty):
    basis = np.eye(DIMENSION)
    empty.enrol("ann", basis[:2])
    empty.enrol("bob", 0.8 * basis[0] + 0.8 * basis[1] + 0.6 * basis[2])
    assert empty.identify(basis[0], 0.99)[0] == ["ann"]
    assert empty.identify(basis[0] + basis[1], 0.1)[0] == ["bob"]


def test_a_tie_between_people_names_neither(empty):
    basis = np.eye(DIMENSION)
    empty.enrol("ann", [basis[0], basis[0], basis[3]])
    empty.enrol("bob", [5 * basis[0], basis[4]])
    names, scores = empty.identify([basis[0], basis[3], basis[4]], 0.5)
    assert names == ["", "ann", "bob"] and scores.tolist() == [1, 1, 1]
    empty.remove("bob")
    assert empty.identify(basis[0], 0.5)[0] == ["ann"]


def test_embeddings_that_are_all_alike_recognise_nobody(empty):
    empty.enrol([f"p{at}" for at in range(30)], np.ones((30, DIMENSION)))
    names, scores = empty.identify(np.ones((5, DIMENSION)), 0.5)
    assert names == [""] * 5 and scores.tolist() == [1] * 5


def test_the_threshold_itself_is_accepted(empty):
    empty.enrol("ann", np.eye(DIMENSION)[0])
    probe = np.eye(DIMENSION)[0] + np.eye(DIMENSION)[1]
    score = empty.search(probe)[1][0, 0]
    assert empty.identify(probe, score)[0] == ["ann"]
    assert empty.identify(probe, np.nextafter(score, 2))[0] == [""]


# Calibration


def naive_threshold(best, fpir):
    """The lowest of all thresholds that matter at which few enough strangers get in."""
    allowed = []
    for threshold in [-1.0, *best, *(np.nextafter(one, np.inf) for one in best)]:
        if sum(one >= threshold for one in best) / len(best) <= fpir:
            allowed.append(threshold)
    return min(allowed)


@pytest.mark.parametrize("fpir", [0.05, 0.1, 0.29, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_is_the_one_a_loop_finds(full, fpir, ties):
    strangers = probes(200, 5)
    if ties:
        strangers = strangers[np.arange(200) // 7]
    best = full.search(strangers)[1][:, 0]
    found = full.calibrate(strangers, fpir)
    expected = naive_threshold(best, fpir)
    assert found == full.calibration
    assert found == (expected, (best >= expected).mean(), 200, 12)
    assert found.fpir <= fpir
    let_in = [name != "" for name in full.identify(strangers)[0]]
    assert np.mean(let_in) == found.fpir


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


def test_a_rate_that_the_strangers_cannot_support_is_refused(full):
    message = "fpir: 0.05 of 199 photos of strangers is 9.95, and at least 10 are needed"
    with pytest.raises(NotSupportedError, match=message):
        full.calibrate(probes(199, 0), 0.05)
    assert full.calibration is None
    full.calibrate(probes(200, 0), 0.05)


@pytest.mark.parametrize("fpir", [0, -0.1, 1.1, np.nan])
def test_a_rate_that_is_no_rate_is_refused(full, fpir):
    with pytest.raises(ValueError, match="fpir: expected above 0 and at most 1"):
        full.calibrate(probes(200, 0), fpir)


# Bad input


BAD_EMBEDDINGS = [
    (np.full(DIMENSION, np.nan), "embeddings: NaN or infinite value in row 0"),
    ([np.ones(DIMENSION), np.full(DIMENSION, np.inf)], "NaN or infinite value in row 1"),
    ([np.ones(DIMENSION), np.zeros(DIMENSION)], "embeddings: row 1 is all zeros"),
    (np.ones(DIMENSION + 1), "of dimension 17, and the gallery is of 16"),
    (np.ones((0, DIMENSION)), r"expected shape \[n, d\], not empty"),
    (np.ones((1, 1, DIMENSION)), r"expected shape \[n, d\]"),
    (3.0, r"expected shape \[n, d\]"),
    (["a"] * DIMENSION, "expected real numbers"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_EMBEDDINGS)
def test_bad_embeddings_are_refused_everywhere_and_change_nothing(full, bad, message):
    before = len(full)
    for use in (
        lambda: full.enrol("new", bad),
        lambda: full.search(bad),
        lambda: full.identify(bad, 0.5),
        lambda: full.calibrate(bad, 0.5),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    assert len(full) == before and "new" not in full.identities


@pytest.mark.parametrize("name", ["", None, 3])
def test_what_is_no_name_is_refused(full, name):
    before = len(full)
    with pytest.raises(ValueError, match="identity: this is no name: "):
        full.enrol(["new", name], np.ones((2, DIMENSION)))
    with pytest.raises(ValueError, match="model: this is no name: "):
        Gallery(DIMENSION, name)
    assert len(full) == before and "new" not in full.identities


def test_other_bad_input_is_refused(full):
    with pytest.raises(ValueError, match="identity: 3 names for 2 embeddings"):
        full.enrol(["a", "b", "c"], np.ones((2, DIMENSION)))
    with pytest.raises(ValueError, match="identity: 'nobody' is not enrolled"):
        full.remove("nobody")
    for k in (0, 13):
        with pytest.raises(ValueError, match=f"k: {k}, and 12 people are enrolled"):
            full.search(np.ones(DIMENSION), k)
    with pytest.raises(ValueError, match="none was given, and the gallery is not calibrated"):
        full.identify(np.ones(DIMENSION))
    full.calibrate(probes(200, 0), 0.5)
    full.enrol("one more", probes(1, 3)[0])
    full.identify(np.ones(DIMENSION))
    full.enrol("and another", probes(1, 4)[0])
    with pytest.raises(ValueError, match="calibrated among 12 people, and 14 are enrolled"):
        full.identify(np.ones(DIMENSION))
    full.identify(np.ones(DIMENSION), 0.5)
    full.remove("one more")
    full.identify(np.ones(DIMENSION))
    with pytest.raises(ValueError, match="threshold: NaN"):
        full.identify(np.ones(DIMENSION), np.nan)
    with pytest.raises(ValueError, match="dimension: expected at least 1, got 0"):
        Gallery(0, "net 1")


def test_an_empty_gallery_knows_nobody(empty):
    for use in (
        lambda: empty.search(np.ones(DIMENSION)),
        lambda: empty.identify(np.ones(DIMENSION), 0.5),
        lambda: empty.calibrate(np.ones((200, DIMENSION)), 0.5),
    ):
        with pytest.raises(ValueError, match="the gallery is empty: enrol somebody first"):
            use()


# Photos


def answer(*scores):
    return {"scores": np.float32(scores), "embeddings": np.eye(DIMENSION)[: len(scores)]}


def test_the_one_face_of_a_photo_is_enrolled(empty):
    empty.enrol_photo("ann", answer(0.9, 0.3), "a.jpg")
    empty.enrol_photo(
        "bob",
        answer(0.2, 0.15) | {"embeddings": 1 - np.eye(DIMENSION)[:2]},
        "b.jpg",
        score_threshold=0.2,
    )
    assert empty.identify(np.eye(DIMENSION)[0], 0.99)[0] == ["ann"]
    assert empty.identify(1 - np.eye(DIMENSION)[0], 0.99)[0] == ["bob"] and len(empty) == 2


def test_a_photo_with_no_face_or_several_is_refused_by_name(empty):
    for scores, message in (
        ((), r"^a\.jpg: no face with a score of 0\.5 or more$"),
        ((0.4, 0.1), r"^a\.jpg: no face .*; the best detection has 0\.40$"),
        ((0.9, 0.5), r"^a\.jpg: 2 faces, and one was expected"),
    ):
        with pytest.raises(ValueError, match=message):
            empty.enrol_photo("ann", answer(*scores), "a.jpg")
    with pytest.raises(ValueError, match=r"^a\.jpg: the answer has no embeddings"):
        empty.enrol_photo("ann", {"scores": np.ones(1)}, "a.jpg")
    assert len(empty) == 0


def test_the_answer_of_a_joint_net_is_enrolled():
    net = thin_net()
    net.score_threshold = 0.0
    found = Joint(net, 64)(noise(64, 96))
    detections = net.eval().detect([torch.from_numpy(noise(64, 96)).permute(2, 0, 1)])[0]
    assert found["embeddings"].dtype == np.float32
    assert found["embeddings"].shape == (len(found["scores"]), net.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(found["embeddings"], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found["embeddings"], detections["embeddings"], atol=1e-5)
    gallery = Gallery(net.embedding_dim, "thin")
    best = {key: found[key][:1] for key in ("scores", "embeddings")}
    gallery.enrol_photo("ann", best, "a.jpg", score_threshold=0.0)
    assert gallery.identify(found["embeddings"][0], 0.999)[0] == ["ann"]


# On disk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "galleries" / "people.safetensors"


def load(path, model="net 1", dimension=DIMENSION, **more):
    return Gallery.load(path, model, dimension, **more)


def test_a_gallery_comes_back_as_it_was_saved(full, path):
    full.enrol('Анна "x"\n', probes(2, 9))
    full.remove("p003")
    full.calibrate(probes(200, 5), 0.1)
    full.save(path)
    again = load(path, exact_up_to=full.exact_up_to)
    asked = np.concatenate([probes(50, 1), people()[1]])
    assert again.search(asked, 5)[0] == full.search(asked, 5)[0]
    assert (again.search(asked, 5)[1] == full.search(asked, 5)[1]).all()
    assert again.identify(asked)[0] == full.identify(asked)[0]
    assert again.calibration == full.calibration and isinstance(again.calibration, Calibration)
    assert set(again.identities) == set(full.identities) and len(again) == len(full)
    again.enrol("new", probes(1, 7))
    again.remove("p005")
    assert again.identify(probes(1, 7), 0.999)[0] == ["new"]


def test_an_empty_gallery_comes_back(path):
    Gallery(DIMENSION, "net 1").save(path)
    again = load(path)
    assert len(again) == 0 and again.calibration is None
    again.enrol("ann", np.ones(DIMENSION))
    assert again.identify(np.ones(DIMENSION), 0.9)[0] == ["ann"]


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
    assert "embeddings of model net 1, and net 2 is wanted" in refusal(path, model="net 2")
    assert "embeddings of dimension 16, and 8 is wanted" in refusal(path, dimension=8)


def test_a_missing_gallery_is_refused(path):
    assert "no such gallery" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_gallery_is_refused(full, path, share):
    full.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or not a gallery" in refusal(path)


def test_every_altered_byte_is_noticed(path):
    gallery = Gallery(2, "net 1")
    gallery.enrol(["ann", "bob"], probes(2, 0, 2))
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
    about = json.loads(json.loads(header)["__metadata__"]["about"])
    about["calibration"]["threshold"] = -1.0
    save_file(tensors, path, metadata={"about": json.dumps(about)})
    assert "altered since it was saved" in refusal(path)


def test_a_checkpoint_is_no_gallery(path):
    save_checkpoint(path, torch.nn.Linear(2, 2), {"run": 1})
    assert "this is not a gallery" in refusal(path)
    save_file({"names": np.zeros(1), "templates": np.zeros(1)}, path, metadata={"about": "[]"})
    assert "this is not a gallery" in refusal(path)


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
        monkeypatch.setattr(gallery_module, "save_file", half)
    else:
        monkeypatch.setattr(storage.os, "replace", interrupted)
    full.enrol("new", np.ones(DIMENSION))
    with pytest.raises((OSError, KeyboardInterrupt)):
        full.save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    assert "new" not in load(path).identities


# Speed


def test_the_benchmark_measures_and_keeps_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "TABLES", tmp_path)
    monkeypatch.setattr(gallery_speed, "KINDS", ("alone", "narrow"))
    table = main(["--templates", "20000", "--probes", "40"])
    saved = pd.read_csv(tmp_path / "gallery_speed.csv")
    assert list(saved.columns) == list(table.columns) and len(saved) == len(table) == 4
    assert set(saved["command"]) == {
        "python -m thesislib.gallery_speed --templates 20000 --probes 40"
    }
    assert saved["people"].tolist() == [20000, 20000, 1000, 1000]
    assert (saved["recall_at_1"] >= 0.97).all()
    exact = saved[saved["engine"] == "exact"]
    assert (exact[["recall_at_1", "recall_strangers"]] == 1).all(axis=None)
    assert (saved["strangers_low"] >= 0).all() and (saved["ms_min"] <= saved["ms_median"]).all()
    assert (saved["ms_cpu"] > 0).all()
    assert "recall_at_1" in capsys.readouterr().out


def test_the_benchmark_refuses_what_it_cannot_make():
    with pytest.raises(ValueError, match="kind 'odd' is unknown; choose one of alone, "):
        measure("odd", 20000)
    with pytest.raises(ValueError, match="templates: expected a multiple of 10000, got 15000"):
        measure("alone", 15000)


def test_the_committed_table_meets_the_target():
    table = pd.read_csv(paths.ROOT / "figures" / "tables" / TABLE)
    large = table[(table["templates"] == 1_000_000) & (table["engine"] == "faiss")]
    assert set(large["data"]) == set(KINDS) and set(large["dimension"]) == {512}
    assert (large["recall_at_1"] >= 0.99).all()
    assert (large["ms_median"] <= 10).all()
    assert set(table["command"]) == {"python -m thesislib.gallery_speed"}
