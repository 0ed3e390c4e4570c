"""One name a thing, in the language of the figures."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting import labels
from thesislib.reporting.labels import busy_label, busy_sentence


@pytest.fixture
def russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")


def test_an_arm_is_called_what_stands_in_the_dictionary():
    assert {arm: labels.arm_label(arm) for arm in labels.ARM_LABELS} == labels.ARM_LABELS
    assert labels.arm_label("mine_7") == "mine_7"


def test_numbers_in_labels_take_their_forms(russian):
    asked = ("cosface_16", "dim64", "people_20", "photos_1", "normalised", "mine_7")
    assert [labels.arm_label(arm) for arm in asked] == [
        "CosFace, масштаб 16",
        "размерность 64",
        "20 человек",
        "1 фото на человека",
        "нормализованный softmax",
        "mine_7",
    ]
    assert labels.seeds_label([0]) == "запуск 0"
    assert labels.seeds_label([0, 2]) == "запуски 0, 2"


def test_systems_have_their_russian_names_and_unknown_ones_their_own(russian):
    assert labels.system_label("joint") == "единая сеть"
    assert labels.system_label("joint, started") == "единая сеть,\nна основе распознавателя dlib"
    assert labels.timed_system_label("two_stage_up1") == "двухэтапная, увеличение 1"
    assert labels.timed_system_label("default") == "опубликованная сеть"
    assert labels.variant_label("scratch") == "с нуля"
    assert labels.variant_label("chance") == "случайное угадывание"
    assert labels.engine_label("openvino") == "OpenVINO fp32"
    assert labels.seen_by("two_stage", "dlib") == (
        "новые",
        "двухэтапная (лицо), на основе распознавателя dlib",
    )
    for name in (labels.system_label, labels.engine_label, labels.people_label):
        assert name("mine") == "mine"


def test_what_training_began_from_is_told_in_a_column_and_behind_a_name():
    begun = {start: labels.begun_from(start) for start in ("scratch", "default", "none", "mine")}
    assert list(begun.values()) == ["random weights", "the published net", "–", "mine"]
    told = [labels.started_from(start) for start in ("scratch", "dlib", "mine")]
    assert told == ["from random weights", "from dlib's recogniser", "from mine"]


def test_splits_are_named():
    assert [labels.split_label(split) for split in ("photo", "of mine")] == [
        "photo split",
        "of mine split",
    ]


def test_times_of_a_busy_machine_are_told():
    told = busy_label(pd.DataFrame({"others": [0.1, 0.42, np.nan]}))
    assert told == "on a busy machine: other processes had 42 % of the cores"
    quiet = ({"ms": [1.0]}, {"others": [np.nan]}, {"others": [0.15]}, {"others": []})
    assert [busy_label(pd.DataFrame(one)) for one in quiet] == ["", "", "", ""]
    assert busy_sentence(pd.DataFrame({"others": [0.42]})) == f" Timed {told}."
    assert busy_sentence(pd.DataFrame({"ms": [1.0]})) == ""
