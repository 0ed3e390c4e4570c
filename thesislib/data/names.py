"""Names of people and of files in one form, from whatever wrote them.

Letters may be composed or not (й is one character or two), blanks of several kinds, and archives
and disks keep names in code pages that they do not tell.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# What is not seen, besides Unicode's format characters (Cf): a grapheme joiner, Hangul fillers,
# variants of emoji. Joiners stay, which Persian and Indic names are written with.
_UNSEEN = {0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
_JOINERS = {0x200C, 0x200D}
# Of Russian Windows and DOS, and of older Unix; of western and eastern Europe and of Turkey.
CODE_PAGES = (
    *("cp866", "cp1251", "koi8-r"),
    *("cp437", "cp850", "cp852", "cp857", "cp1252", "cp1250", "cp1254", "cp1257"),
)


def plain_name(name: str) -> str:
    """A name in Unicode's composed form (NFC), one space between words, nothing that is not seen.

    >>> plain_name(" Андрей  Белый ") == "Андрей Белый"
    True
    """
    seen = "".join(c for c in name if ord(c) in _JOINERS or not _is_unseen(c))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _is_unseen(letter: str) -> bool:
    return ord(letter) in _UNSEEN or unicodedata.category(letter) == "Cf"


MOST_TOLD = 8  # names in a sentence


def told_names(names: Sequence[str]) -> str:
    """Names as a sentence lists them, the first few of many.

    >>> told_names(list("abcdefghij"))
    'a, b, c, d, e, f, g, h and 2 more'
    """
    more = len(names) - MOST_TOLD
    return ", ".join(names[:MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


MAX_BYTES = 120  # of a file's name: what file systems take is 255, with room for what is added


def short_name(name: str, suffix: str = "", most: int = MAX_BYTES) -> str:
    """A file's name of at most so many bytes, and no two names alike if they were not.

    >>> short_name("a" * 200) == "a" * 110 + "~" + "c2a908d98"
    True
    """
    if len((name + suffix).encode()) <= most:
        return name + suffix
    end = "~" + hashlib.sha256(name.encode()).hexdigest()[:9] + suffix
    kept = name.encode()[: most - len(end.encode())].decode(errors="ignore")
    return kept + end


def decoded(names: Sequence[bytes]) -> tuple[list[str], str] | None:
    """Names of one origin whose code page nobody tells, and the code page.

    UTF-8 where they are UTF-8; else the one of ``CODE_PAGES`` in which all are words of one script
    each, written as words are, with capitals in front or throughout.

    Returns:
        None where none, or more than one, makes words of them.

    >>> decoded(["Анна".encode("cp866"), "Борис".encode("cp866")])
    (['Анна', 'Борис'], 'cp866')
    """
    found: dict[tuple[str, ...], str] = {}
    for encoding in ("utf-8", *CODE_PAGES):
        try:
            told = tuple(name.decode(encoding) for name in names)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            return list(told), encoding
        if _are_words(told):
            found.setdefault(told, encoding)
    if len(found) != 1:
        return None
    ((told, encoding),) = found.items()
    return list(told), encoding


def _are_words(names: Iterable[str]) -> bool:
    """Whether what is beyond ASCII in names stands in words of one script, as words are written."""
    words = [word for name in names for word in re.split(r"[\x00-\x40\x5b-\x60\x7b-\x7f]+", name)]
    words = [word for word in words if not word.isascii()]
    scripts = [{unicodedata.name(c, "?").split()[0] for c in word} for word in words]
    if not all(word.isalpha() for word in words) or any(
        script not in ({"LATIN"}, {"CYRILLIC"}) for script in scripts
    ):
        return False
    latin = "".join(w for w, script in zip(words, scripts, strict=True) if script == {"LATIN"})
    if sum(c.isascii() for c in latin) < 0.5 * len(latin):  # a few letters have accents, not most
        return False
    return all(word.isupper() or word[1:] == word[1:].lower() for word in words)
