"""Names in one form, and names whose code page nobody tells."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thesislib.data.names import CODE_PAGES, decoded, plain_name

RUSSIAN = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
WORDS = st.text(RUSSIAN, min_size=2, max_size=12)
NAMES = st.lists(st.one_of(WORDS, WORDS.map(str.capitalize)), min_size=1, max_size=3).map(" ".join)


@given(st.text(max_size=20))
def test_a_plain_name_has_one_form(name):
    plain = plain_name(name)
    assert plain_name(plain) == plain
    assert plain_name(unicodedata.normalize("NFD", name)) == plain
    assert plain_name(f" \u00a0{name}\u200b\t") == plain
    assert plain == plain.strip() and "  " not in plain


def test_what_looks_alike_is_one_name():
    assert plain_name("Андре\u0438\u0306") == "Андрей" == plain_name("\ufeffАндрей\u00ad")
    assert plain_name("Анна\u00a0 Павлова") == "Анна Павлова"
    assert plain_name("نیم\u200cفاصله") == "نیم\u200cفاصله"  # a joiner is part of the spelling


@pytest.mark.parametrize("encoding", ["cp866", "cp1251", "koi8-r"])
@given(st.lists(NAMES, min_size=1, max_size=5))
def test_russian_names_come_out_right_or_not_at_all(encoding, names):
    names = [f"{name}/IMG_{at}.jpg" for at, name in enumerate(names)]
    told = decoded([name.encode(encoding) for name in names])
    assert told is None or told == (names, encoding)
    if sum(len(name) for name in names) > 60:
        assert told is not None


@pytest.mark.parametrize("names", [["José", "iPhone"], ["Müller/1.jpg"], ["ÉCOLE", "René"]])
@pytest.mark.parametrize("encoding", ["cp437", "cp850", "cp1252"])
def test_western_names(names, encoding):
    told = decoded([name.encode(encoding) for name in names])
    assert told is not None and told[0] == names


EASTERN = {
    "Michał": ("cp852", "cp1250", "cp1257"),
    "Jiří Dvořák": ("cp852", "cp1250"),
    "Ayşe": ("cp857", "cp1254"),
    "Çağla İnci": ("cp857", "cp1254"),
    "Åsa": ("cp437", "cp850", "cp1252"),
    "Zoë Löw": ("cp437", "cp1252"),
    "Žižek": ("cp852", "cp1250", "cp1257"),
    "Łukasz Żak": ("cp852", "cp1250", "cp1257"),
}


@pytest.mark.parametrize("name", EASTERN)
def test_names_of_which_code_pages_make_several_are_not_guessed(name):
    for encoding in EASTERN[name]:
        told = decoded([name.encode(encoding)])
        assert told is None or told[0] == [name]


def test_utf8_is_told_from_code_pages():
    names = ["Анна", "José", "彩香", "plain"]
    assert decoded([name.encode() for name in names]) == (names, "utf-8")


def test_what_could_be_several_things_is_not_guessed():
    for letter in ("Ё", "Я"):
        assert decoded([letter.encode("cp866")]) is None
    assert decoded([b"\xff\xfe\x00"]) is None
    assert set(CODE_PAGES) >= {"cp866", "cp1251"}
