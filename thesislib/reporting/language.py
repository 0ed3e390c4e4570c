"""The language of figures and tables: English or, for the thesis, Russian.

Words are written in English where they are drawn, as ``_("faces")``; ``locale/ru.po`` has the
Russian ones (gettext). Numbers are formatted as English ones are and turned at the end, by
:func:`localised`: the decimal mark is the language's (Unicode CLDR, by Babel), whatever the machine
is set to.
"""

import functools
import gettext
import io
import os
import re
from pathlib import Path

from thesislib.environment import require

LANGUAGES = ("en", "ru")
LOCALE = Path(__file__).parent / "locale"


def language() -> str:
    """What ``FIGURES_LANGUAGE`` asks for; English where it asks for nothing.

    Raises:
        ValueError: a language that is not here.
    """
    asked = os.environ.get("FIGURES_LANGUAGE") or "en"
    if asked not in LANGUAGES:
        raise ValueError(f"FIGURES_LANGUAGE={asked}: expected {' or '.join(LANGUAGES)}")
    return asked


@functools.cache
def _translations(name: str) -> gettext.NullTranslations:
    if name == "en":
        return gettext.NullTranslations()
    pofile, mofile = (
        require(f"babel.messages.{one}", extra="figures") for one in ("pofile", "mofile")
    )
    with (LOCALE / f"{name}.po").open("rb") as file:
        terms = pofile.read_po(file, locale=name)
    compiled = io.BytesIO()
    mofile.write_mo(compiled, terms)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(text: str) -> str:
    """A text in the language asked for; itself where there is no translation."""
    return _translations(language()).gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """A text in the form that its number asks for, such as ``"{n} face"`` or ``"{n} faces"``."""
    return _translations(language()).ngettext(one, many, count)


def N_(text: str) -> str:
    """Mark a text that is translated later, where it is printed."""
    return text


def localised(text: str) -> str:
    """Numbers of a text as the language writes them.

    A comma between numbers becomes a semicolon where a comma is the decimal mark.

    >>> localised("96.3 [94.1, 98.0]")  # in Russian 96,3 [94,1; 98,0]
    '96.3 [94.1, 98.0]'
    """
    if language() == "en":
        return text
    mark = require("babel.numbers", extra="figures").get_decimal_symbol(language())
    text = re.sub(r"(?<=\d), (?=[-+−±]?\d)", "; ", text)
    # In mathematics a bare comma is followed by a gap.
    return re.sub(r"(?<=\d)\.(?=\d)", f"{{{mark}}}" if "$" in text else mark, text)
