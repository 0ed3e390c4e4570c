"""Fonts that together have the letters of most names: Latin, Greek, Cyrillic, Arabic, CJK.

No font has all of them, and a letter that a font lacks is drawn as an empty box. matplotlib falls
back from font to font by itself, once it knows them; Pillow does not.
"""

import dataclasses
import functools
import importlib.util
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageFont

CJK = "Noto Sans CJK JP"
# Module and file of each, in order of preference; both come with the extra "figures".
_FILES = (
    ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
    ("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf"),
)

PillowFont = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.cache
def files() -> tuple[Path, ...]:
    """Font files that are installed, the preferred one first."""
    found = []
    for module, file in _FILES:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / file
            if path.is_file():
                found.append(path)
    return tuple(found)


@functools.cache
def register() -> tuple[str, ...]:
    """Tell matplotlib about the CJK font.

    Returns:
        families to fall back on, in order; only those that are installed.
    """
    from matplotlib import font_manager

    names = []
    for path in files():
        manager = font_manager.fontManager
        manager.addfont(path)
        names.append(font_manager.get_font(path).family_name)
        if names[-1] == CJK:
            # Of one weight, which stands for bold too; else each bold text gives a warning.
            manager.ttflist.append(dataclasses.replace(manager.ttflist[-1], weight=700))
    return tuple(names)


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(path)).get_charmap())


def is_cjk(text: str) -> bool:
    """Whether matplotlib takes some letter of it from the CJK font."""
    if text.isascii():
        return False
    *others, last = files()
    known: frozenset[int] = frozenset().union(*map(_characters, others))
    return last.name.startswith("NotoSansCJK") and any(
        ord(letter) not in known and ord(letter) in _characters(last) for letter in text
    )


@functools.cache
def pillow_font(path: Path | None, size: float) -> PillowFont:
    """A font for Pillow; Pillow's own, which has Latin letters alone, where ``path`` is None."""
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def spans(text: str) -> Iterator[tuple[Path | None, str]]:
    """Cut a text into parts that one font has, for Pillow.

    A letter that no installed font has stays with the font before it, and a warning names it.

    Yields:
        font file (None for Pillow's own) and part of the text.
    """
    available = files()
    if not available or text.isascii():
        first = available[0] if available else None
        if first is None and not text.isascii():
            warnings.warn(
                f"no font for {text!r}; pip install 'thesislib[figures]' has one", stacklevel=2
            )
        yield first, text
        return
    path, part = available[0], ""
    for letter in text:
        having = [file for file in available if ord(letter) in _characters(file)]
        if not having and not letter.isspace():
            warnings.warn(f"no font has the letter {letter!r} of {text!r}", stacklevel=2)
        # A space or an accent stays in the font of the letter before it.
        carried = letter.isspace() or unicodedata.combining(letter)
        if having and path != having[0] and not (carried and path in having):
            if part:
                yield path, part
            path, part = having[0], ""
        part += letter
    yield path, part
