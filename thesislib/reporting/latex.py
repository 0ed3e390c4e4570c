"""Tables as LaTeX that fit on a page of A4 with margins of 2.5 cm.

Words are broken into lines, and those that a column says again and again become headings.
What is still too wide becomes several tables, each with the words of its rows; what is too high
goes on overleaf.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, groupby, pairwise
from typing import NamedTuple

import pandas as pd

_LINE = 43.5  # em: 16 cm in 10 points, which \footnotesize is in a text of 12, less a reserve
_GAP = 0.8  # em between columns
_HEADER = 6.0  # em of a name of numbers that is not broken though they are narrower
_PAGE = 44  # lines of a table that stays on one page

_ESCAPED = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    # What the font has elsewhere or not at all; quotes are commands of babel's Russian.
    | {"<": "$<$", ">": "$>$", "≥": r"$\ge$", "×": r"$\times$", "→": r"$\to$", "′": "$'$"}
    | {"–": "--", "−": "$-$", '"': "''", "\u00a0": "~"}
)


class _Column(NamedTuple):
    """A column of texts, its width in em, and whether it is of words, or of numbers."""

    name: str
    texts: list[str]
    width: float
    words: bool

    @property
    def form(self) -> str:
        whole = max(map(_width, (self.name, *self.texts)))
        if not self.words:
            return "r"
        if self.width >= whole:
            return "l"
        return rf">{{\raggedright\arraybackslash}}p{{{self.width:.1f}em}}"

    def lines(self, row: int) -> int:
        return len(_broken(self.texts[row], self.width))


class _Layout(NamedTuple):
    """A table's parts, each the columns that are beside each other, and headings of each row."""

    parts: list[list[_Column]]
    headings: list[tuple[str, ...]]

    @property
    def cost(self) -> tuple[int, float]:
        """How many parts, and how high all are."""
        above = 1.5 * sum(map(len, _changes(self.headings)))
        return len(self.parts), sum(sum(_heights(part)) + above for part in self.parts)


def tabulars(cells: pd.DataFrame, words: int) -> str:
    """A table in as few parts as its width allows, in the size of footnotes.

    Needs the packages booktabs, array and longtable.

    Args:
        cells: texts.
        words: how many columns, from the left, are words; the others are numbers.
    """
    texts = {_typeset(str(name)): [_typeset(str(cell)) for cell in cells[name]] for name in cells}
    best = min(_layouts(texts, words), key=lambda layout: layout.cost)
    size = r"\begingroup\footnotesize\setlength{\tabcolsep}{0.4em}\setlength{\LTleft}{0pt}"
    parts = [_tabular(part, best.headings) for part in best.parts]
    return "\n".join([size, "\n\\par\\bigskip\n".join(parts), r"\endgroup"])


def _typeset(text: str) -> str:
    """A text whose minus is not a hyphen, and whose percent sign stays with its number."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text).replace(" %", "\u00a0%")


def _layouts(texts: dict[str, list[str]], words: int) -> Iterator[_Layout]:
    """Layouts of a table: which words are headings, and how narrow the others are."""
    names = list(texts)
    columns = [_of_numbers(name, texts[name]) for name in names[words:]]
    # Numbers without which rows could not be told apart stand in every part.
    told = next((at for at in range(max(words, 1), len(names)) if _differ(texts, at)), words)
    fixed, columns = columns[: told - words], columns[told - words :]
    for headed in _headed(texts, names[:words]):
        headings = [
            tuple(f"{name}: {texts[name][at]}" for name in headed)
            for at in range(len(texts[names[0]]))
        ]
        least = len(columns) + 1
        for named in _narrowed({name: texts[name] for name in names[:words] if name not in headed}):
            beside = [*named, *fixed]
            room = _LINE - sum(column.width + _GAP for column in beside)
            parts = _in_parts(columns, room)
            if len(parts) < least:  # as wide as they can be for so many parts
                least = len(parts)
                yield _Layout([[*beside, *part] for part in parts], headings)


def _of_numbers(name: str, texts: list[str]) -> _Column:
    header = max(_longest_word(name), min(_width(name), _HEADER))
    return _Column(name, texts, max([header, *map(_width, texts)]), False)


def _differ(texts: dict[str, list[str]], columns: int) -> bool:
    """Whether the first columns tell all rows apart."""
    rows = list(zip(*list(texts.values())[:columns], strict=True))
    return len(set(rows)) == len(rows)


def _headed(texts: dict[str, list[str]], words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Columns of words that can be headings: they say the same of many rows below each other, and
    others remain to tell rows apart."""
    yield ()
    for count in range(1, len(words)):
        for names in combinations(words, count):
            rows = list(zip(*(texts[name] for name in names), strict=True))
            if 2 * len(list(groupby(rows))) <= len(rows):
                yield names


def _heights(columns: Sequence[_Column]) -> list[int]:
    """Lines of each row."""
    return [max(column.lines(at) for column in columns) for at in range(len(columns[0].texts))]


@cache
def _width(text: str) -> float:
    """About how wide a text is, in em."""
    narrow = sum(char in " \u00a0.,;:'()[]ijlt|!/" for char in text)
    wide = sum(char.isupper() or char in "mwжмфшщыю@%+–→×≥<" for char in text)
    others = len(text) - narrow - wide
    cyrillic = sum("а" <= char <= "ё" for char in text)
    return 0.3 * narrow + 0.72 * wide + 0.5 * others + 0.03 * cyrillic


def _longest_word(*texts: str) -> float:
    return max(_width(word) for text in texts for word in text.split(" "))


def _broken(text: str, width: float) -> list[str]:
    """The lines of a text in a column of a width."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _narrowed(texts: dict[str, list[str]]) -> Iterator[list[_Column]]:
    """Columns of words, the widest narrower each time, down to their longest words."""
    whole = [max(map(_width, (name, *column))) for name, column in texts.items()]
    # With a reserve: a word that is wider than its column would lie on the next.
    least = [1.1 * _longest_word(name, *column) for name, column in texts.items()]
    most = max([0.0, *whole])
    while True:
        widths = [max(word, min(line, most)) for word, line in zip(least, whole, strict=True)]
        yield [
            _Column(name, column, width, True)
            for (name, column), width in zip(texts.items(), widths, strict=True)
        ]
        if widths == least:
            return
        most -= 1


def _in_parts(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    """Columns of numbers, as many together as there is room for, at least one; parts alike."""
    parts = _filled(columns, room)
    while room > 1 and len(_filled(columns, room - 1)) == len(parts):
        room -= 1
    return _filled(columns, room)


def _filled(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    parts: list[list[_Column]] = [[]]
    for column in columns:
        wide = sum(other.width + _GAP for other in parts[-1]) + column.width + _GAP
        if parts[-1] and wide > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _changes(headings: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The headings above each row: those that differ from the row above, and what is below them."""
    changed = []
    for above, own in pairwise([("",) * len(headings[0]), *headings] if headings else []):
        first = next((at for at in range(len(own)) if own[at] != above[at]), len(own))
        changed.append(own[first:])
    return changed


def _tabular(columns: Sequence[_Column], headings: Sequence[tuple[str, ...]]) -> str:
    form = "".join(column.form for column in columns)
    header = " & ".join(map(_header, columns)) + r" \\"
    body = []
    changed = _changes(headings)
    for at, above in enumerate(changed):
        body += [r"\addlinespace"] if above and at else []
        body += [_heading(text, len(columns)) for text in above]
        body.append(" & ".join(column.texts[at].translate(_ESCAPED) for column in columns) + r" \\")
    long = sum(_heights(columns)) + sum(map(len, changed)) > _PAGE
    kind = "longtable" if long else "tabular"
    lines = [rf"\begin{{{kind}}}{{{form}}}", r"\toprule", header, r"\midrule"]
    lines += [r"\endhead", r"\bottomrule", r"\endfoot"] if long else []
    lines += body
    lines += [] if long else [r"\bottomrule"]
    return "\n".join([*lines, rf"\end{{{kind}}}"])


def _header(column: _Column) -> str:
    """A column's name; that of numbers, where it is wider than they, in lines below each other."""
    name = column.name.translate(_ESCAPED)
    lines = [line.translate(_ESCAPED) for line in _broken(column.name, column.width)]
    if column.words or len(lines) < 2:
        return name
    return r"\begin{tabular}[b]{@{}r@{}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _heading(text: str, columns: int) -> str:
    return rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{text.translate(_ESCAPED)}}}}} \\*"
