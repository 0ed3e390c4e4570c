"""Numbers in pages: placeholders that are filled from the tables.

A page says where a table or a number comes from, in comments that Markdown does not show:

    <!-- table:experiment1 -->
    <!-- /table -->

    named <!-- value:experiment1?dataset=ytf&split=photo&system=joint&metric=joint_accuracy_50
    &format=percent1 --><!-- /value --> of the faces

(in one line). :func:`refresh` puts the table or number between them, and :func:`check` tells which
are not what the tables say. Placeholders in code, between backticks or in fenced blocks, are text.

A table may be narrowed: ``table:experiment1?dataset=ytf&split=photo``. The query of a value names
a table (``experiment1`` is ``experiment1.csv``) and columns with the value they must have. One row
must remain, or ``agg`` says what becomes of several. Besides:

- ``format``: ``percentN`` (of a share: 97.4 %), ``shareN`` (the same without the sign), ``plainN``,
  ``ratioN`` (3.0 times), ``count``, ``p`` (a *p* value), ``text``; N digits after the point;
- ``column``: the column that is printed, ``value`` where it is not given;
- ``agg``: ``mean``, ``min``, ``max``, ``sum`` or ``count`` of several rows;
- ``over.COLUMN``: divide by the number of the same query with ``COLUMN`` changed to this.

A sentence that compares stands between ``<!-- claim:experiment1_pairs?...&says=more -->`` and
``<!-- /claim -->``. Its query leaves one row of a table of differences, and ``says`` whether the
first system is ``more``, ``less``, or ``neither``, which the row must bear out: a difference is one
if it ``holds``. The sentence stays as it is, but for numbers in it that are placeholders; one that
the table does not bear out is refused.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd

from thesislib import storage
from thesislib.reporting import tables
from thesislib.tables import read_table

_COMMENT = re.compile(r"<!-- *(/?)(table|value|claim)(?::(.*?))? *-->", re.DOTALL)
# Code is shown as it stands.
_CODE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_AGGREGATES = ("mean", "min", "max", "sum", "count")


class _Placeholder(NamedTuple):
    line: int  # of the page, from 1
    kind: str  # "table", "value" or "claim"
    query: str
    start: int  # of the text between the comments
    stop: int


def refresh(path: Path | str, tables_folder: Path | str) -> bool:
    """Fill a page's placeholders from the tables.

    Args:
        path: a Markdown page; may have no placeholders.
        tables_folder: with ``experiment1.csv`` and so on.

    Returns:
        whether the page changed.

    Raises:
        ValueError: placeholders that are not closed, a query that no row or several rows match,
            or that is not understood; the message names the page, the line and the query. The
            page is left as it was.
    """
    path = Path(path)
    page = path.read_text(encoding="utf-8")
    filled, at = [], 0
    for placeholder, text in _filled(path, page, Path(tables_folder)):
        if placeholder.kind != "claim":
            filled += [page[at : placeholder.start], text]
            at = placeholder.stop
    new = "".join([*filled, page[at:]])
    if new != page:
        storage.write_text(path, new)
    return new != page


def check(path: Path | str, tables_folder: Path | str) -> list[str]:
    """Tell which placeholders of a page do not hold what the tables say.

    Args:
        path, tables_folder: as for :func:`refresh`.

    Returns:
        complaints, each with page, line and query; empty where all is well.

    Raises:
        ValueError: as for :func:`refresh`.
    """
    path = Path(path)
    page = path.read_text(encoding="utf-8")
    complaints = []
    for one, text in _filled(path, page, Path(tables_folder)):
        found = page[one.start : one.stop]
        if found != text:
            told = f"has {found.strip()!r}, the table {text!r}"
            told = "the table has changed" if one.kind == "table" else told
            complaints.append(f"{path}:{one.line}: {one.kind}:{one.query}: {told}")
    return complaints


def tables_in(path: Path | str) -> list[str]:
    """Queries of the tables in a page, in order.

    Raises:
        ValueError: placeholders that are not closed.
    """
    path = Path(path)
    page = path.read_text(encoding="utf-8")
    return [one.query for one in _placeholders(path, page) if one.kind == "table"]


def rows_of(query: str, tables_folder: Path | str) -> tuple[str, pd.DataFrame]:
    """A table's name, and the rows that a query asks for.

    Raises:
        ValueError: an unknown table, a query that is not understood, or one that no row matches.
    """
    name, _, asked = query.partition("?")
    if name not in tables.TABLES:
        raise ValueError(f"unknown table; there are {', '.join(tables.TABLES)}")
    rows = read_table(Path(tables_folder) / tables.TABLES[name].file)
    return name, _matching(rows, _words(asked) if asked else {})


def _filled(path: Path, page: str, folder: Path) -> Iterator[tuple[_Placeholder, str]]:
    for one in _placeholders(path, page):
        try:
            if one.kind == "table":
                # Next to a comment Markdown would not see a table.
                yield one, f"\n\n{tables.markdown(*rows_of(one.query, folder))}\n\n"
            elif one.kind == "claim":
                _check_claim(one.query, folder)
                yield one, page[one.start : one.stop]
            else:
                yield one, _value(one.query, folder)
        except (ValueError, FileNotFoundError, ZeroDivisionError) as error:
            raise ValueError(f"{path}:{one.line}: {one.kind}:{one.query}: {error}") from error


def _placeholders(path: Path, page: str) -> Iterator[_Placeholder]:
    """All of a page, in order; claims may hold others, and come after those."""
    text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), page)
    for kinds in (("table", "value"), ("claim",)):
        yield from _of_kinds(path, text, kinds)


def _of_kinds(path: Path, page: str, kinds: Sequence[str]) -> Iterator[_Placeholder]:
    opened: re.Match[str] | None = None
    for comment in _COMMENT.finditer(page):
        closes, kind, query = comment[1] == "/", comment[2], comment[3]
        if kind not in kinds:
            continue
        where = f"{path}:{page.count(chr(10), 0, comment.start()) + 1}: {comment[0]}"
        if closes and (opened is None or opened[2] != kind):
            raise ValueError(f"{where}: closes nothing")
        if not closes and opened is not None:
            raise ValueError(f"{where}: {opened[0]} before it is not closed")
        if not closes and not query:
            raise ValueError(f"{where}: names no table")
        if closes and opened is not None:
            line = page.count("\n", 0, opened.start()) + 1
            yield _Placeholder(line, kind, opened[3], opened.end(), comment.start())
            opened = None
        else:
            opened = comment
    if opened is not None:
        line = page.count("\n", 0, opened.start()) + 1
        raise ValueError(f"{path}:{line}: {opened[0]}: is not closed")


def _check_claim(query: str, folder: Path) -> None:
    """Refuse a sentence on a difference that its row does not bear out."""
    name, _, asked = query.partition("?")
    words = _words(asked)
    says = words.pop("says", "")
    if says not in ("more", "less", "neither"):
        raise ValueError(f"says={says}: expected more, less or neither")
    table = _read(folder, name)
    if "holds" not in table:
        raise ValueError(f"{name}.csv has no column holds: it is no table of differences")
    rows = _matching(table, words)
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows match; name one")
    row = rows.iloc[0]
    found = "neither"
    if row["holds"]:
        found = "more" if row["value"] > 0 else "less"
    if found != says:
        told = f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        told += f", p {tables.probability(row['p_holm'])}"
        raise ValueError(f"the page says {says}, the table {found}: {told}")


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise ValueError(f"no table {path.name}")
    return read_table(path)


def _words(asked: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(asked, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        pairs = []
    if not pairs:
        raise ValueError("expected TABLE?column=value&...")
    words = dict(pairs)
    if len(words) < len(pairs):
        raise ValueError("a word is given twice")
    return words


def _value(query: str, folder: Path) -> str:
    name, _, asked = query.partition("?")
    words = _words(asked)
    shown = _formatter(words.pop("format", ""))
    column, aggregate = words.pop("column", "value"), words.pop("agg", "")
    over = {
        key.removeprefix("over."): words.pop(key) for key in list(words) if key.startswith("over.")
    }
    table = _read(folder, name)
    value = _one(table, words, column, aggregate)
    if over:
        value = _number(value) / _number(_one(table, words | over, column, aggregate))
    return shown(value)


def _one(table: pd.DataFrame, words: dict[str, str], column: str, aggregate: str) -> object:
    """The value of a column in the only row that fits, or what is made of several."""
    _check_column(table, column)
    rows = _matching(table, words)
    if aggregate:
        if aggregate not in _AGGREGATES:
            raise ValueError(f"agg={aggregate}: expected one of {', '.join(_AGGREGATES)}")
        return rows[column].agg(aggregate)
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows match; name one, or say what becomes of them with agg")
    return rows[column].iloc[0]


def _matching(table: pd.DataFrame, words: dict[str, str]) -> pd.DataFrame:
    """Rows whose columns hold what is asked, at least one."""
    rows = table
    for name, wanted in words.items():
        _check_column(table, name)
        rows = rows[_equal(rows[name], wanted)]
    if not len(rows):
        raise ValueError("no row matches")
    return rows


def _check_column(table: pd.DataFrame, name: str) -> None:
    if name not in table:
        raise ValueError(f"no column {name}; there are {', '.join(table.columns)}")


def _equal(values: pd.Series, wanted: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(values):
        return values.astype(str) == wanted
    if not pd.api.types.is_numeric_dtype(values):
        return values == wanted
    if not wanted:
        return values.isna()
    try:
        return values == float(wanted)
    except ValueError:
        raise ValueError(f"{values.name}={wanted}: a number is expected") from None


def _number(value: object) -> float:
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise ValueError(f"found {value!r}, which is no number")
    return float(value)


def _formatter(name: str) -> Callable[[object], str]:
    """How a value is printed."""
    if name == "text":
        return lambda value: html.escape(str(value), quote=False)
    if name == "count":
        return lambda value: f"{_number(value):.0f}"
    if name == "p":
        return lambda value: tables.probability(_number(value)).replace("<", "&lt;")
    scale, after = {
        "percent": (100, " %"),
        "share": (100, ""),
        "plain": (1, ""),
        "ratio": (1, " times"),
    }.get(name[:-1], (0, ""))
    if not scale or not name[-1].isdecimal():
        raise ValueError(
            f"format={name}: expected percentN, shareN, plainN or ratioN with N digits, "
            "count, p or text"
        )
    digits = int(name[-1])
    return lambda value: f"{scale * _number(value):.{digits}f}{after}"
