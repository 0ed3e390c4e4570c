"""Figures and tables in Russian: every word has a translation, and numbers have a comma."""

import ast
import json
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from thesislib import paths
from thesislib.deploy.quality import DOUBTS
from thesislib.reporting import language
from thesislib.reporting.language import _, localised, ngettext

FOLDER = Path(language.__file__).parent
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}


@pytest.fixture
def russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")


@pytest.fixture(scope="module")
def terms():
    with (language.LOCALE / "ru.po").open("rb") as file:
        return read_po(file, locale="ru", abort_invalid=True)


def of_notebooks():
    """Captions, the third argument of each ``show``, and words that a notebook has translated."""
    found = set()
    for file in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for source in ("".join(one["source"]) for one in cells if one["cell_type"] == "code"):
            for call in ast.walk(ast.parse(source)):
                called = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
                if called == "show":
                    assert len(call.args) == 3 and isinstance(call.args[2], ast.Constant), source
                    found.add(call.args[2].value)
                elif called == "term":
                    found.add(call.args[0].value)
    return found


def wanted():
    found = of_notebooks() | set(DOUBTS)
    for _file, _line, message, _comments, _context in extract_from_dir(FOLDER, keywords=KEYWORDS):
        found.add(message)
    return found


def test_every_text_has_a_translation(terms):
    known = {one.id: one.string for one in terms if one.id}
    missing = [text for text in wanted() if not all(_strings(known.get(text, "")))]
    assert not missing


def test_no_translation_is_of_a_text_that_is_gone(terms):
    assert {one.id for one in terms if one.id} <= wanted()


def _strings(text):
    return [text] if isinstance(text, str) else list(text) or [""]


def test_translations_have_the_same_places_for_values(terms):
    for one in terms:
        for translated in _strings(one.string) if one.id else ():
            places = [set(re.findall(r"{(\w*)", text)) for text in _strings(one.id)]
            assert set(re.findall(r"{(\w*)", translated)) in places, one.id


WORDS = re.compile(r"[A-Za-z]{2,}")
TEXTS = {"label", "xlabel", "ylabel", "title", "text", "s", "labels", "cbar_label"}
CALLS = {
    "set_title", "set_xlabel", "set_ylabel", "text", "annotate", "suptitle", "supxlabel",
    "supylabel", "set_label", "legend",
}  # fmt: skip


def test_no_text_of_a_figure_is_left_untranslated():
    """Words that are given to matplotlib without asking for their translation."""
    found = []
    for file in sorted((FOLDER / "figures").glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            given = [word.value for word in call.keywords if word.arg in TEXTS]
            if name in CALLS:
                given += call.args
            for one in given:
                words = [text for text in _literals(one) if WORDS.search(text)]
                found += [f"{file.name}:{one.lineno}: {text!r}" for text in words]
    assert not found


def _literals(node):
    """Strings in an expression, but for those that are looked up or translated."""
    if isinstance(node, ast.Call | ast.Subscript | ast.Compare):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.FormattedValue):
        return
    else:
        for child in ast.iter_child_nodes(node):
            yield from _literals(child)


def test_numbers_have_a_comma(russian):
    assert localised("96.3 [94.1, 98.0]") == "96,3 [94,1; 98,0]"
    assert localised("seeds 0, 1, 2; -0.5, +1.25") == "seeds 0; 1; 2; -0,5; +1,25"
    assert localised(r"$10^{0.5}$") == r"$10^{0{,}5}$"
    assert localised("PyTorch 2.8, a net.") == "PyTorch 2,8, a net."


def test_numbers_stay_in_english():
    assert localised("96.3 [94.1, 98.0]") == "96.3 [94.1, 98.0]"


def test_forms_of_a_number(russian):
    forms = [ngettext("{n} face", "{n} faces", n).format(n=n) for n in (1, 3, 5)]
    assert forms == ["1 лицо", "3 лица", "5 лиц"]


def test_a_language_that_is_not_here_is_told(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "de")
    with pytest.raises(ValueError, match="FIGURES_LANGUAGE=de: expected en or ru"):
        _("faces")
