"""Figures are saved the same twice, with where they came from, and checked against a manifest."""

import json

import matplotlib.pyplot as plt
import pytest
from figure_about import ABOUT
from PIL import Image

from thesislib import paths
from thesislib.reporting.figures import save, style

SAVED = ABOUT | {"caption": "a curve"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The figures' folder of a project of its own, with one notebook."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(paths, "PRIVATE_FIGURES", tmp_path / "figures" / "private")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    paths.NOTEBOOKS.mkdir()
    (paths.NOTEBOOKS / "data.ipynb").write_text("{}")
    return paths.FIGURES


@style.styled
def curve(title="IoU"):
    figure, axis = plt.subplots(figsize=(4, 2))
    axis.plot([0, 1], [1, 0])
    axis.set_title(title)
    return figure


def test_same_figure_gives_same_bytes(folder):
    first = save.save(curve(), "one", **SAVED)
    second = save.save(curve(), "two", **SAVED)
    for suffix in (".png", ".pdf"):
        one, two = (file.with_suffix(suffix).read_bytes() for file in (first, second))
        assert one == two


def test_saving_a_figure_again_gives_same_bytes(folder):
    figure = curve()
    before = save.save(figure, "one", **SAVED).read_bytes()
    assert save.save(figure, "one", **SAVED).read_bytes() == before


def test_a_dataset_may_have_any_name(folder):
    name = 'Anna\'s $_$ люди; "a" `b` % #'
    file = save.save(curve(), "iou", **SAVED | {"dataset": name, "private": True})
    assert file == folder / f"{name}-photo" / "iou.png"
    assert save.check_manifest(folder) == []


def test_saved_figure_is_recorded_and_nothing_is_left_over(folder):
    file = save.save(curve(), "iou", **SAVED)
    assert file == folder / "synthetic-photo" / "iou.png"
    assert sorted(f.name for f in file.parent.iterdir()) == ["iou.pdf", "iou.png"]
    record = json.loads((folder / "manifest.json").read_text())["synthetic-photo/iou"]
    assert record["notebook"] == "data.ipynb"
    assert (record["profile"], record["seed"], record["caption"]) == ("quick", 0, "a curve")
    assert (record["private"], record["faces"]) == (False, False)
    assert set(record["sha256"]) == {"pdf", "png"}
    assert save.check_manifest(folder) == []


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "profile quick, synthetic people, photo split, seed 0"),
        ({"seed": [0, 2]}, "profile quick, synthetic people, photo split, seeds 0, 2"),
        (
            {"compared": ("photo", "session")},
            "profile quick, synthetic people, photo split, session split, seed 0",
        ),
        (
            {"dataset": "ytf", "private": True, "split": "session"},
            "profile quick, ytf, session split, seed 0",
        ),
        (
            {"dataset": "synthetic-staff", "private": True},
            "profile quick, synthetic-staff, photo split, seed 0",
        ),
    ],
)
def test_what_it_was_drawn_from_stands_in_the_files(folder, changes, shown):
    about = SAVED | changes
    file = save.save(curve(), "iou", **about)
    record = save.read_manifest(folder)[f"{about['dataset']}-{about['split']}/iou"]
    assert record["about"] == shown
    with Image.open(file) as picture:
        assert (picture.text["Title"], picture.text["Description"]) == ("a curve", shown)
    assert shown.encode() in file.with_suffix(".pdf").read_bytes()


def test_what_cannot_be_read_is_a_complaint(folder):
    figure = curve()
    figure.axes[0].text(0.5, 0.5, "one", ha="center")
    figure.axes[0].text(0.5, 0.5, "other", ha="center")
    save.save(figure, "iou", **SAVED)
    assert save.check_manifest(folder) == ["synthetic-photo/iou: 'one' lies on 'other'"]
    plt.close(figure)


def test_russian_figures_have_a_folder_of_their_own(folder, monkeypatch):
    english = save.save(curve(), "iou", **SAVED)
    before = (folder / "manifest.json").read_bytes()
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    russian = save.save(curve(), "iou", **SAVED)
    assert russian == folder / "ru/synthetic-photo/iou.png"
    assert russian.read_bytes() != english.read_bytes()  # the ticks of a curve from 0 to 1
    assert (folder / "manifest.json").read_bytes() == before
    assert save.check_manifest(folder) == save.check_manifest(folder / "ru") == []
    hidden = save.save(curve(), "faces", **SAVED | {"private": True}, faces=True)
    assert hidden == folder / "ru/private/synthetic-photo/faces.png"


def test_second_figure_keeps_the_first_record(folder):
    save.save(curve(), "one", **SAVED)
    save.save(curve(), "two", **SAVED | {"split": "session"})
    keys = json.loads((folder / "manifest.json").read_text())
    assert list(keys) == ["synthetic-photo/one", "synthetic-session/two"]


@pytest.mark.parametrize("dataset", ["ytf", "synthetic", "synthetic-staff"])
@pytest.mark.parametrize("private", [True, False])
def test_faces_of_private_datasets_are_private_whatever_their_name(folder, dataset, private):
    about = SAVED | {"dataset": dataset, "private": private}
    file = save.save(curve(), "sheet", **about, faces=True)
    assert (folder / "private" in file.parents) == private
    assert (folder / "manifest.json").exists() != private
    assert save.check_manifest(folder) == []
    assert folder / "private" not in save.save(curve(), "curve", **about).parents


@pytest.mark.parametrize(("title", "outlines"), [("Анна ≥ 0", False), ("王小明", True)])
def test_names_of_all_scripts_are_kept_in_the_pdf(folder, title, outlines):
    # A font with PostScript outlines, embedded as TrueType, leaves nothing on the page.
    pdf = save.save(curve(title), "name", **SAVED).with_suffix(".pdf").read_bytes()
    assert (b"NotoSansCJK" in pdf) == outlines
    assert (b"/Type3" in pdf) == outlines
    assert (b"/FontFile2" in pdf) != outlines


def test_names_of_all_scripts_are_kept_in_the_png(folder):
    files = [save.save(curve(name), "name", **SAVED).read_bytes() for name in ("王小明", "李小明")]
    assert files[0] != files[1], "boxes in place of letters would be alike"


def test_manifest_complaints(folder):
    for name in ("kept", "gone", "changed"):
        save.save(curve(), name, **SAVED)
    save.save(curve(), "homeless", **SAVED | {"notebook": "nowhere.ipynb"})
    here = folder / "synthetic-photo"
    (here / "gone.pdf").unlink()
    (here / "changed.png").write_bytes(b"else")
    (here / "stray.png").write_bytes(b"who knows")
    assert save.check_manifest(folder) == [
        "synthetic-photo/changed.png: differs from the manifest",
        "synthetic-photo/gone.pdf: missing",
        "synthetic-photo/homeless: its notebook nowhere.ipynb is missing",
        "synthetic-photo/stray.png: not in the manifest",
    ]


def test_no_figures_no_complaints(folder):
    assert save.check_manifest(folder) == []
