"""What became of faces, one of each kind."""

import pandas as pd
import pytest

from thesislib.deploy import outcomes as module
from thesislib.deploy.outcomes import outcomes

BOX = ["x1", "y1", "x2", "y2"]


def rows(*faces):
    return pd.DataFrame(
        [(photo, left, 0, left + 10, 10, 0.9, name) for photo, left, name in faces],
        columns=["photo", *BOX, "score", "name"],
    )


TRUTH = rows(
    *[("a", 0, "Anna"), ("a", 20, "Anna"), ("a", 40, "Anna")],
    *[("a", 60, "Vera"), ("a", 80, ""), ("b", 0, "Boris"), ("c", 0, "Boris")],
)


@pytest.mark.parametrize(
    "left, name, outcome",
    [
        (1, "Anna", "right name"),
        (20, "Boris", "somebody else's name"),
        (40, "", "no name"),
        (62, "", "stranger, no name"),
        (60, "Anna", "stranger, taken for somebody"),
        (80, "Anna", "stranger, taken for somebody"),
        (120, "Anna", "no face"),
    ],
)
def test_what_became_of_a_face(left, name, outcome):
    told = outcomes(rows(("a", left, name)), TRUTH, ["Anna", "Boris"])
    assert told["outcome"].iloc[0] == outcome and told["name"].iloc[0] == name
    assert set(told["outcome"]) <= set(module.OUTCOMES)


def test_faces_are_counted_once_and_those_not_found_come_last():
    found = rows(("b", 0, "Boris"), ("b", 1, "Anna"), ("d", 0, ""))
    told = outcomes(found, TRUTH, ["Anna", "Boris"])
    assert told["photo"].tolist() == ["b", "b", "d", *"aaaaa", "c"]
    assert told["outcome"].tolist()[:3] == ["right name", "no face", "no face"]
    assert set(told["outcome"][3:]) == {"not found"}
    assert told["true_name"].tolist()[3:] == ["Anna", "Anna", "Anna", "Vera", "", "Boris"]


def test_without_faces():
    assert outcomes(rows(), TRUTH, [])["outcome"].eq("not found").all()
    assert not len(outcomes(rows(), TRUTH[:0], []))


def test_names_are_compared_as_they_read_and_rows_keep_their_order():
    truth = rows(("a", 0, "Андре\u0438\u0306"), ("b", 0, "Anna"))  # as some disks spell it
    truth = pd.concat([truth, truth[:1].assign(photo="c", x1=None, name="")])
    found = rows(("a", 0, "Андрей"), ("b", 0, "Anna"), ("a", 50, ""))
    told = outcomes(found, truth, ["Андрей", "Anna"])
    assert told["photo"].tolist() == ["a", "b", "a"]
    assert told["outcome"].tolist() == ["right name", "right name", "no face"]
