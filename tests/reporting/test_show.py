"""A notebook's figures are saved, drawn once, and have their captions below them."""

import io

import matplotlib.pyplot as plt
import PIL.Image
import pytest
from conftest import noise
from figure_about import ABOUT

from thesislib import paths
from thesislib.reporting import language
from thesislib.reporting.figures import save
from thesislib.reporting.figures.show import ipython, showing
from thesislib.reporting.figures.style import styled


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """What a cell displays, as (kind, text); figures go to a folder of their own."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    monkeypatch.setattr(paths, "PRIVATE_FIGURES", tmp_path / "private")
    shown = []
    monkeypatch.setattr(ipython, "display", shown.append)
    return shown


@styled
def curve():
    figure, axis = plt.subplots(figsize=(4, 2))
    axis.plot([0, 1], [1, 0])
    return figure


def test_a_figure_is_saved_and_drawn_once_with_its_caption_below(seen):
    figure = curve()
    assert showing(**ABOUT)(figure, "iou", "A curve.") is None
    with PIL.Image.open(io.BytesIO(seen[0].data)) as picture:
        assert picture.format == "PNG" and picture.size == (600, 300)  # 4 x 2 inches
    assert seen[1].data == "*A curve.*"
    assert len(seen) == 2
    assert not plt.fignum_exists(figure.number)  # else the notebook draws it once more
    assert save.read_manifest(paths.FIGURES)["synthetic-photo/iou"]["caption"] == "A curve."


def test_what_is_said_of_one_figure_is_not_said_of_the_next(seen):
    show = showing(**ABOUT)
    show(curve(), "iou", "A curve.", dataset="celeba", seed=[0, 1], private=True)
    show(curve(), "iou", "A curve.")
    manifest = save.read_manifest(paths.FIGURES)
    assert list(manifest) == ["celeba-photo/iou", "synthetic-photo/iou"]
    assert [one["seed"] for one in manifest.values()] == [[0, 1], 0]


def test_photos_take_few_bytes(seen):
    figure, axis = plt.subplots(figsize=(4, 2))
    axis.imshow(noise(200, 400))
    showing(**ABOUT)(figure, "sheet", "Photos.", faces=True)
    assert seen[0].data[:2] == b"\xff\xd8"  # JPEG


def test_faces_of_private_people_are_shown_and_kept_private(seen):
    showing(**ABOUT | {"private": True})(curve(), "sheet", "Photos.", faces=True)
    assert len(seen) == 2
    assert (paths.PRIVATE_FIGURES / "synthetic-photo" / "sheet.png").is_file()
    assert save.read_manifest(paths.FIGURES) == {}


def test_captions_are_in_the_language_of_figures(seen, monkeypatch):
    monkeypatch.setattr(language, "_translations", lambda name: RUSSIAN)
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    showing(**ABOUT)(curve(), "iou", "A curve.")
    assert seen[1].data == "*Кривая.*"


class RUSSIAN:
    gettext = staticmethod(lambda text: "Кривая." if text == "A curve." else text)
    ngettext = staticmethod(lambda one, many, count: many)
