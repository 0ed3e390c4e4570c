"""Names in any script are drawn, not boxes in their place."""

import warnings

import numpy as np
import pytest
from matplotlib.textpath import TextPath

from thesislib import fonts

NAMES = ("Anna", "Łukasz Żółć", "Анна Ким", "Ελένη", "김민준", "田中さくら", "王小明")


@pytest.mark.parametrize("name", NAMES)
def test_each_part_of_a_name_has_a_font_that_has_its_letters(name):
    parts = list(fonts.spans(name))
    assert "".join(text for _, text in parts) == name
    for path, text in parts:
        font = fonts.pillow_font(path, 20)
        empty = bytes(font.getmask("\uffff"))  # what is drawn for a letter that a font lacks
        for letter in text.replace(" ", ""):
            assert bytes(font.getmask(letter)) != empty, letter


def test_the_first_font_is_used_where_it_has_the_letter():
    parts = [(path.name, text) for path, text in fonts.spans("Ким 김 и")]
    cjk = "NotoSansCJKjp-Regular.otf"
    assert parts == [("DejaVuSans.ttf", "Ким "), (cjk, "김 "), ("DejaVuSans.ttf", "и")]


def test_a_letter_that_no_font_has_is_told():
    with pytest.warns(UserWarning, match="no font has the letter '\U00012000'"):
        assert "".join(text for _, text in fonts.spans("a\U00012000")) == "a\U00012000"


def test_without_the_extra_a_name_is_drawn_and_the_extra_named(monkeypatch):
    monkeypatch.setattr(fonts, "files", lambda: ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(fonts.spans("Anna")) == [(None, "Anna")]
    with pytest.warns(UserWarning, match=r"thesislib\[figures\]"):
        assert list(fonts.spans("王")) == [(None, "王")]
    assert fonts.pillow_font(None, 20).getlength("Anna") > 0


def test_matplotlib_knows_the_fonts_and_falls_back_on_them():
    from matplotlib.font_manager import FontProperties, findfont

    families = fonts.register()
    assert fonts.CJK in families
    found = findfont(FontProperties(family=fonts.CJK), fallback_to_default=False)
    assert found.endswith("NotoSansCJKjp-Regular.otf")
    shapes = [TextPath((0, 0), letter, prop=FontProperties(family=fonts.CJK)) for letter in "王小"]
    assert not np.array_equal(shapes[0].vertices, shapes[1].vertices)


@pytest.mark.parametrize(("text", "cjk"), [("Anna ≥ 0,5", False), ("Анна", False), ("王", True)])
def test_only_text_of_the_cjk_font_is_told_from_other(text, cjk):
    assert fonts.is_cjk(text) == cjk


def test_bold_text_gives_no_warning(caplog):
    from matplotlib import pyplot as plt

    fonts.register()
    with plt.rc_context({"font.family": ["DejaVu Sans", fonts.CJK]}), caplog.at_level("WARNING"):
        figure = plt.figure()
        figure.text(0.5, 0.5, "王 and all", fontweight="bold")
        figure.canvas.draw()
    assert not caplog.records
