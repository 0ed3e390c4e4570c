"""The search among templates against naive loops, by both ways of searching."""

import sys
import time

import numpy as np
import pytest
from people import DIMENSION, naive_search, people, probes, unit

from thesislib.deploy import templates as module
from thesislib.deploy.templates import Templates
from thesislib.environment import MissingExtraError

EXACT_UP_TO = {"exact": 10**6, "codes": 0}


@pytest.fixture(params=EXACT_UP_TO)
def empty(request):
    return Templates(DIMENSION, EXACT_UP_TO[request.param])


@pytest.fixture
def full(empty):
    names, vectors = people()
    empty.add(names, unit(vectors))
    return empty


# Search


@pytest.mark.parametrize("k", [1, 3, 12])
def test_search_gives_what_a_loop_gives(full, k):
    names, vectors = people()
    asked = unit(probes(50, 1))
    found, scores = full.search(asked, k)
    assert scores.shape == (50, k)
    for one, its, probe in zip(found, scores, asked, strict=True):
        expected = naive_search(names, vectors, probe)[:k]
        assert one == [name for name, _ in expected]
        np.testing.assert_allclose(its, [score for _, score in expected], atol=1e-6)


def test_the_blocks_of_a_search_do_not_show(monkeypatch):
    names, vectors = people()
    asked = unit(probes(50, 1))
    for exact_up_to in EXACT_UP_TO.values():
        whole = Templates(DIMENSION, exact_up_to)
        whole.add(names, unit(vectors))
        found, scores = whole.search(asked, 3)
        with monkeypatch.context() as patched:
            patched.setattr(module, "_BLOCK", 7 * len(whole))
            patched.setattr(module, "_PROBES", 7)
            patched.setattr(module, "_ROWS", 7)
            again = Templates(DIMENSION, exact_up_to)
            again.add(names, unit(vectors))
            in_blocks, scores_in_blocks = again.search(asked, 3)
        assert found == in_blocks
        assert (scores == scores_in_blocks).all()


@pytest.mark.parametrize("dimension", [3, 64, 512, 600])
def test_codes_find_the_mates_among_many(dimension):
    names, vectors = people(3000, 1, dimension=dimension)
    vectors = unit(vectors)
    templates = Templates(dimension, exact_up_to=0)
    templates.add(names, vectors)
    asked = unit(vectors[:200] + 0.7 * probes(200, 1, dimension) / dimension**0.5)
    found = templates.search(asked, 1)[1][:, 0]
    templates.exact_up_to = 3000
    assert (found == templates.search(asked, 1)[1][:, 0]).mean() >= 0.99


def test_codes_stand_a_mean_that_all_embeddings_share():
    names, vectors = people(3000, 1, dimension=64)
    templates = Templates(64, exact_up_to=0)
    templates.add(names, unit(vectors + 20))
    asked = unit(vectors[:200] + 20 + 0.3 * probes(200, 1, 64))
    found = templates.search(asked, 1)[1][:, 0]
    templates.exact_up_to = 3000
    assert (found == templates.search(asked, 1)[1][:, 0]).mean() >= 0.99


def test_many_are_searched_by_codes_and_few_are_not(monkeypatch):
    used = []
    for name in ("_by_codes", "_by_product"):
        method = getattr(Templates, name)
        monkeypatch.setattr(
            Templates, name, lambda *a, name=name, method=method: used.append(name) or method(*a)
        )
    templates = Templates(2, exact_up_to=3)
    templates.add(["a", "b", "c"], unit(probes(3, 0, 2)))
    templates.search(np.array([[1.0, 0.0]]), 1)
    templates.add(["d"], unit(np.ones((1, 2))))
    templates.search(np.array([[1.0, 0.0]]), 1)
    assert used == ["_by_product", "_by_codes"]


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    templates = Templates(2, exact_up_to=1)
    templates.add(["a", "b"], np.eye(2))
    with pytest.raises(MissingExtraError, match=r"more than 1 templates.*thesislib\[gallery\]"):
        templates.search(np.eye(2), 1)


def test_threads_of_faiss_are_left_as_they_were():
    import faiss

    before = faiss.omp_get_max_threads()
    templates = Templates(2, exact_up_to=0)
    templates.add(["a", "b"], np.eye(2))
    templates.search(np.eye(2), 1)
    assert faiss.omp_get_max_threads() == before


def test_codes_are_faster_than_the_product_among_many():
    count, dimension = 60_000, 512
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((count, dimension), dtype=np.float32))
    templates = Templates(dimension, exact_up_to=count)
    templates.add([str(at) for at in range(count)], vectors)
    probe = vectors[:1].astype(np.float64)
    taken = {}
    for exact_up_to in (count, 0):
        templates.exact_up_to = exact_up_to
        templates.search(probe, 1)  # codes are made at the first search
        times = []
        for _ in range(9):
            began = time.process_time()
            assert templates.search(probe, 1)[0] == [["0"]]
            times.append(time.process_time() - began)
        taken[exact_up_to] = min(times)
    assert taken[0] < taken[count]


# People come and go


def test_who_is_removed_is_gone_and_nobody_else_is_touched(full):
    names, vectors = people()
    vectors = unit(vectors)
    full.search(vectors, 1)  # so that there are codes to be kept right
    left = list(dict.fromkeys(names))
    np.random.default_rng(3).shuffle(left)
    while len(left) > 1:
        full.remove(left.pop())
        stay = np.isin(names, left)
        assert sorted(full.counts) == sorted(left) and len(full) == stay.sum()
        found, scores = full.search(vectors[stay], 1)
        assert [one[0] for one in found] == [
            name for name, yes in zip(names, stay, strict=True) if yes
        ]
        np.testing.assert_allclose(scores, 1, atol=1e-9)
        assert (full.search(vectors[~stay], 1)[1] < 1 - 1e-6).all()
    full.remove(left.pop())
    assert len(full) == 0 and not full.counts


def test_coming_and_going_in_any_order_ends_in_the_same(empty):
    rng = np.random.default_rng(0)
    inside = {}
    for step in range(300):
        if inside and rng.random() < 0.4:
            name = str(rng.choice(sorted(inside)))
            empty.remove(name)
            del inside[name]
        else:
            name, new = f"p{rng.integers(20)}", unit(probes(rng.integers(1, 4), step))
            empty.add([name] * len(new), new)
            inside[name] = [*inside.get(name, []), *new]
        assert empty.counts == {name: len(rows) for name, rows in inside.items()}
        if inside and rng.random() < 0.3:
            k = int(rng.integers(1, len(inside) + 1))
            names = [name for name, rows in inside.items() for _ in rows]
            probe = unit(probes(1, 1000 + step))
            expected = naive_search(names, np.concatenate(list(inside.values())), probe[0])
            found, scores = empty.search(probe, k)
            assert found[0] == [name for name, _ in expected[:k]]
            np.testing.assert_allclose(scores[0], [s for _, s in expected[:k]], atol=1e-6)


def test_codes_follow_the_templates_that_come_and_go():
    import faiss

    templates = Templates(DIMENSION, exact_up_to=0)
    names, vectors = people(40)
    templates.add(names, unit(vectors))
    templates.search(unit(vectors), 1)
    for name in ("p003", "p000", "p039"):
        templates.remove(name)
    more, others = people(10, seed=5)
    templates.add([f"new {name}" for name in more], unit(others))
    templates.remove("p010")  # with templates that have no codes yet
    templates.search(unit(others), 1)
    index = templates._index
    assert index.ntotal == len(templates) == templates._coded
    rows = faiss.vector_to_array(index.id_map)
    assert sorted(rows) == list(range(len(templates)))
    codes = faiss.downcast_index(index.index)
    stored = faiss.vector_to_array(codes.codes).reshape(len(rows), -1)
    encoded = codes.sa_encode(templates.vectors[rows])
    # But for projections that rounding takes across their threshold.
    assert (np.unpackbits(stored ^ encoded, axis=1).mean(axis=1) < 0.05).all()
