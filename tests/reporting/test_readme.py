"""Numbers in pages are those of the tables, or the page is told to be out of date."""

import errno
from pathlib import Path

import pandas as pd
import pytest

from thesislib.reporting import readme, tables
from thesislib.tables import read_table

from .test_tables import plain, row, table


@pytest.fixture
def folder(tmp_path):
    """Tables of two systems, one of them with two seeds, and a table of another form."""
    results = table(
        row(value=0.974),
        row(value=0.5, low=0.4, high=0.6, seed=1),
        row(system="two_stage_face", value=0.907, low=0.9, high=0.92),
        plain("mcnemar_p", 1e-6, system="two_stage_face"),
        plain("fps", 60.04),
        plain("fps", 20.0, system="two_stage_face"),
        row(dataset="001", value=0.25, low=0.2, high=0.3),
    )
    results.to_csv(tmp_path / "experiment1.csv", index=False)
    odd = pd.DataFrame([{"dataset": "a & b", "found": True, "value": "", "people": "<b>", "n": 3}])
    odd.to_csv(tmp_path / "odd.csv", index=False)
    return tmp_path


QUERY = "experiment1?dataset=synthetic&seed=0&system=joint&metric=accuracy"


def filled(folder, text):
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    readme.refresh(page, folder)
    return page.read_text(encoding="utf-8")


def value(folder, query):
    text = filled(folder, f"a <!-- value:{query} -->old<!-- /value --> b")
    assert text.startswith(f"a <!-- value:{query} -->") and text.endswith("<!-- /value --> b")
    return text.split(" -->")[1].split("<!--")[0]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (f"{QUERY}&format=percent1", "97.4 %"),
        (f"{QUERY}&format=percent0", "97 %"),
        (f"{QUERY}&format=share1", "97.4"),
        (f"{QUERY}&format=plain2", "0.97"),
        (f"{QUERY}&format=count&column=n", "300"),
        (f"{QUERY}&format=percent1&column=low", "94.1 %"),
        (f"{QUERY}&format=text&column=backbone", "resnet18"),
        ("experiment1?metric=mcnemar_p&format=p", "&lt;0.001"),
        ("experiment1?dataset=001&format=percent0", "25 %"),
        # over two seeds
        (f"{QUERY.replace('&seed=0', '')}&format=plain3&agg=mean", "0.737"),
        (f"{QUERY.replace('&seed=0', '')}&format=percent0&agg=min", "50 %"),
        (f"{QUERY.replace('&seed=0', '')}&format=count&agg=count", "2"),
        # one system against another
        ("experiment1?metric=fps&system=joint&over.system=two_stage_face&format=plain1", "3.0"),
        ("experiment1?metric=fps&value=20&format=ratio0", "20 times"),
        ("odd?dataset=a+%26+b&found=True&column=n&format=count", "3"),
        ("odd?value=&column=n&format=count", "3"),
        ("odd?n=3&column=people&format=text", "&lt;b&gt;"),
    ],
)
def test_a_value_is_that_of_the_only_row_that_fits(folder, query, shown):
    assert value(folder, query) == shown


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("experiment1?metric=accuracy&format=percent1", "4 rows match; name one"),
        (f"{QUERY}&profile=full&format=percent1", "no row matches"),
        (f"{QUERY}&people=seen&format=percent1", "no column people; there are dataset, split"),
        (f"{QUERY}&column=loss&format=percent1", "no column loss"),
        (f"{QUERY}&seed=first&format=percent1", "a word is given twice"),
        ("experiment1?seed=first&format=percent1", "seed=first: a number is expected"),
        (f"{QUERY}&format=bold", "format=bold: expected percentN"),
        (f"{QUERY}&format=percent", "format=percent: expected percentN"),
        (f"{QUERY}", "format=: expected percentN"),
        (f"{QUERY}&format=plain1&agg=median", "agg=median: expected one of mean, min"),
        (f"{QUERY}&column=backbone&format=plain1", "found 'resnet18', which is no number"),
        ("experiment1?metric=fps&system=joint&column=low&format=plain1", "which is no number"),
        (f"{QUERY}&over.metric=none&format=ratio1", "no row matches"),
        ("experiment1", "expected TABLE?column=value&...&format=..."),
        ("experiment1?accuracy", "expected TABLE?column=value&...&format=..."),
        ("experiment9?seed=0&format=plain1", "no table experiment9.csv"),
    ],
)
def test_a_query_that_does_not_name_one_number_is_an_error(folder, query, complaint):
    page = folder / "page.md"
    text = f"one\ntwo\n\nx <!-- value:{query} -->old<!-- /value -->\n"
    page.write_text(text)
    for read in (readme.refresh, readme.check):
        with pytest.raises(ValueError) as error:
            read(page, folder)
        assert str(error.value).startswith(f"{page}:4: value:{query}: ")
        assert complaint in str(error.value)
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n<!-- value:a?b=c -->", ":2: <!-- value:a?b=c -->: is not closed"),
        ("\n<!-- /value -->", ":2: <!-- /value -->: closes nothing"),
        ("<!-- table:experiment1 --><!-- /value -->", ":1: <!-- /value -->: closes nothing"),
        (
            "<!-- table:experiment1 -->\n<!-- value:a?b=c --><!-- /value -->",
            ":2: <!-- value:a?b=c -->: <!-- table:experiment1 --> before it is not closed",
        ),
        ("<!-- value -->", ":1: <!-- value -->: names no table"),
        (
            "<!-- table:experiment7 -->\n<!-- /table -->",
            ":1: table:experiment7: unknown table; there are experiment1, experiment1_boxes",
        ),
        ("<!-- table:experiment2 -->\n<!-- /table -->", ":1: table:experiment2: "),
    ],
)
def test_placeholders_that_are_not_closed_or_unknown_are_errors(folder, text, complaint):
    page = folder / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError) as error:
        readme.refresh(page, folder)
    assert str(error.value).startswith(f"{page}{complaint}")
    assert page.read_text() == text


PAGE = f"""# Title

<!-- table:experiment1_boxes -->old<!-- /table -->

Named <!-- value:{QUERY}&format=percent1 -->1 %<!-- /value -->, twice
<!-- value:{QUERY}&format=percent0 --><!-- /value -->.

The syntax, `<!-- value:x?y=z -->`, and a table's:

```markdown
<!-- table:nothing -->
```
"""


def test_a_page_is_filled_and_its_text_stays(folder):
    text = filled(folder, PAGE)
    printed = tables.markdown("experiment1_boxes", read_table(folder / "experiment1.csv"))
    assert f"<!-- table:experiment1_boxes -->\n\n{printed}\n\n<!-- /table -->" in text
    # All but what is between the comments is as it was.
    assert (
        text.replace(f"\n\n{printed}\n\n", "old")
        .replace("-->97.4 %<", "-->1 %<")
        .replace("-->97 %<", "--><")
        == PAGE
    )
    page = folder / "page.md"
    assert not readme.refresh(page, folder)
    assert page.read_text(encoding="utf-8") == text
    assert readme.check(page, folder) == []


def test_what_is_out_of_date_is_told_with_its_line(folder):
    page = folder / "page.md"
    page.write_text(PAGE)
    complaints = readme.check(page, folder)
    assert [complaint.removeprefix(f"{page}:") for complaint in complaints] == [
        "3: table:experiment1_boxes: the table has changed",
        f"5: value:{QUERY}&format=percent1: has '1 %', the table '97.4 %'",
        f"6: value:{QUERY}&format=percent0: has '', the table '97 %'",
    ]
    assert page.read_text() == PAGE
    readme.refresh(page, folder)
    results = read_table(folder / "experiment1.csv")
    results.loc[results["metric"] == "fps", "value"] += 1
    results.to_csv(folder / "experiment1.csv", index=False)
    assert readme.check(page, folder) == [
        f"{page}:3: table:experiment1_boxes: the table has changed"
    ]


def test_a_page_without_placeholders_is_not_touched(folder):
    page = folder / "page.md"
    page.write_text("plain\n")
    before = page.stat().st_mtime_ns
    assert not readme.refresh(page, folder)
    assert page.stat().st_mtime_ns == before


def test_on_a_full_disk_the_page_stays(folder, monkeypatch):
    page = folder / "page.md"
    page.write_text(PAGE)

    def full(self, text, **_):
        Path.write_bytes(self, text.encode()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        readme.refresh(page, folder)
    assert page.read_text() == PAGE
    assert not list(folder.glob(".page*"))
