"""Numbers in pages are those of the tables, or the page is told to be out of date."""

import errno
from pathlib import Path

import pandas as pd
import pytest

from thesislib.reporting import readme, tables
from thesislib.tables import read_table

from .test_tables import difference, of_seeds, plain, row, table


@pytest.fixture
def folder(tmp_path):
    """Tables of two systems, one of them with two seeds; of two datasets; and of another form."""
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
    boxes = {"metric": "mean_iou", "value": 0.8, "low": 0.7, "high": 0.9}
    of_both = (
        one
        for about in ({}, {"dataset": "ytf"}, {"dataset": "ytf", "split": "session"})
        for one in (of_seeds(**about), of_seeds(**boxes | about))
    )
    table(*of_both).to_csv(tmp_path / "experiment1_seeds.csv", index=False)
    behind = {"value": -0.031, "low": -0.05, "high": -0.012, "p_holm": 0.0214}
    open_yet = {"value": 0.04, "low": 0.0052, "high": 0.08, "p_holm": 0.0321, "holds": False}
    differences = table(
        difference(),
        difference(against="two_stage_face", **behind),
        difference(against="names_only", **open_yet),
        difference(against="boxes_only", **open_yet | {"value": -0.04, "low": -0.08, "high": 0.01}),
    )
    differences.to_csv(tmp_path / "experiment1_pairs.csv", index=False)
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
        ("experiment1", "expected TABLE?column=value&..."),
        ("experiment1?accuracy", "expected TABLE?column=value&..."),
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
        ("<!-- claim -->", ":1: <!-- claim -->: names no table"),
        ("<!-- claim:a?b=c -->it is", ":1: <!-- claim:a?b=c -->: is not closed"),
        ("it is\n<!-- /claim -->", ":2: <!-- /claim -->: closes nothing"),
        ("<!-- claim:a?b=c -->\n<!-- /value -->", ":2: <!-- /value -->: closes nothing"),
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


# --- tables ---------------------------------------------------------------------------------------


def in_page(folder, name, query, text="old"):
    page = folder / "page.md"
    page.write_text(f"one\n\n<!-- {name}:{query} -->{text}<!-- /{name} -->\n", encoding="utf-8")
    return page


def refused(folder, name, query, complaint):
    """Neither filled nor checked, with page, line and query told."""
    page = in_page(folder, name, query)
    before = page.read_text(encoding="utf-8")
    for read in (readme.refresh, readme.check):
        with pytest.raises(ValueError) as error:
            read(page, folder)
        assert str(error.value).startswith(f"{page}:3: {name}:{query}: ")
        assert complaint in str(error.value)
    assert page.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("dataset=synthetic", {"dataset": "synthetic"}),
        ("dataset=ytf&split=session", {"dataset": "ytf", "split": "session"}),
        ("split=session", {"split": "session"}),
        ("dataset=ytf&split=photo&value=0.963", {"dataset": "ytf", "split": "photo"}),
        ("dataset=synthetic&seeds=0+1+2", {"dataset": "synthetic"}),
    ],
)
def test_a_table_is_of_the_rows_that_fit(folder, query, wanted):
    page = in_page(folder, "table", f"experiment1?{query}")
    assert readme.refresh(page, folder)
    rows = read_table(folder / "experiment1_seeds.csv")
    for column, asked in wanted.items():
        rows = rows[rows[column] == asked]
    assert tables.markdown("experiment1", rows) in page.read_text(encoding="utf-8")
    assert readme.check(page, folder) == []


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("experiment1", "several in column dataset (synthetic, ytf); choose one"),
        ("experiment1?dataset=ytf", "several in column split (photo, session); choose one"),
        ("experiment1?people_of=ytf", "no column people_of; there are dataset, split, system"),
        ("experiment1?dataset=lfw", "no row matches"),
        ("experiment1?dataset=synthetic&split=session", "no row matches"),
        ("experiment1?dataset", "expected TABLE?column=value&..."),
        ("experiment1?dataset=ytf&dataset=lfw", "a word is given twice"),
        ("experiment1?seed=first", "seed=first: a number is expected"),
        ("experiment4?dataset=ytf", "unknown table; there are experiment1, experiment1_boxes"),
        ("experiment2?source=ytf", "experiment2.csv"),
    ],
)
def test_a_table_that_its_query_does_not_give_is_an_error(folder, query, complaint):
    refused(folder, "table", query, complaint)


# --- claims ---------------------------------------------------------------------------------------

AGAINST = {  # what a row bears out, by the system of the row
    "two_stage_photo": ("more", "+0.1000 [+0.0500, +0.1500]"),
    "two_stage_face": ("less", "-0.0310 [-0.0500, -0.0120], p 0.021"),
    "names_only": ("neither", "+0.0400 [+0.0052, +0.0800], p 0.032"),
    "boxes_only": ("neither", "-0.0400 [-0.0800, +0.0100], p 0.032"),
}


SAID = ("more", "less", "neither")


def claim(against, says):
    return f"experiment1_pairs?against={against}&metric=joint_accuracy_50&says={says}"


@pytest.mark.parametrize("against", AGAINST)
def test_a_sentence_that_its_row_bears_out_stays_as_it_is(folder, against):
    says, _ = AGAINST[against]
    text = "It is *so* &\n`so` <b>again</b>. "
    page = in_page(folder, "claim", claim(against, says), text)
    before, at = page.read_bytes(), page.stat().st_mtime_ns
    assert readme.check(page, folder) == []
    assert not readme.refresh(page, folder)
    assert (page.read_bytes(), page.stat().st_mtime_ns) == (before, at)


@pytest.mark.parametrize(
    ("against", "says"),
    [(against, says) for against in AGAINST for says in SAID if says != AGAINST[against][0]],
)
def test_a_sentence_that_its_row_does_not_bear_out_is_refused(folder, against, says):
    found, numbers = AGAINST[against]
    told = f"the page says {says}, the table {found}: {numbers}"
    refused(folder, "claim", claim(against, says), told)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("experiment1_pairs?against=names_only&says=better", "says=better: expected more, less or"),
        ("experiment1_pairs?against=names_only&says=", "says=: expected more, less or neither"),
        ("experiment1_pairs?against=names_only", "says=: expected more, less or neither"),
        ("experiment1_pairs?metric=joint_accuracy_50&says=more", "4 rows match; name one"),
        ("experiment1_pairs?says=neither", "4 rows match; name one"),
        ("experiment1_pairs?against=chance&says=neither", "no row matches"),
        ("experiment1_pairs?system_b=chance&says=neither", "no column system_b; there are"),
        ("experiment1_pairs?against=names_only&says=more&says=less", "a word is given twice"),
        ("experiment1_pairs", "expected TABLE?column=value&..."),
        ("experiment9?against=names_only&says=more", "experiment9.csv"),
    ],
)
def test_a_claim_that_does_not_name_one_difference_is_an_error(folder, query, complaint):
    refused(folder, "claim", query, complaint)


def test_a_claim_on_a_table_that_holds_no_differences_is_an_error(folder):
    refused(folder, "claim", f"{QUERY}&says=more", "holds")


def test_a_sentence_that_new_results_no_longer_bear_out_is_refused(folder):
    query = "experiment1_pairs?against=two_stage_photo&says=more"
    page = in_page(folder, "claim", query, "The joint net leads.")
    assert readme.check(page, folder) == []
    path = folder / "experiment1_pairs.csv"
    rows = read_table(path)
    rows.assign(holds=False).to_csv(path, index=False)
    refused(folder, "claim", query, "the page says more, the table neither: +0.1000 [+0.0500")


def test_a_page_with_a_false_sentence_is_not_filled(folder):
    page = folder / "page.md"
    claim = "<!-- claim:experiment1_pairs?against=names_only&says=more -->So.<!-- /claim -->"
    text = f"<!-- value:{QUERY}&format=percent1 -->old<!-- /value -->\n{claim}\n"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md:2: claim:.*the page says more"):
        readme.refresh(page, folder)
    assert page.read_text() == text


def test_numbers_in_a_claim_are_filled(folder):
    number = f"<!-- value:{QUERY}&format=percent1 --><!-- /value -->"
    text = f"The joint net leads, at {number}."
    page = in_page(folder, "claim", claim("two_stage_photo", "more"), text)
    assert readme.refresh(page, folder)
    assert "at <!-- value:" in page.read_text() and "--><!-- /value -->" not in page.read_text()
    assert readme.check(page, folder) == []


# --- pages ----------------------------------------------------------------------------------------

BOXES = "experiment1_boxes?dataset=synthetic"
PAGE = f"""# Title

<!-- table:{BOXES} -->old<!-- /table -->

Named <!-- value:{QUERY}&format=percent1 -->1 %<!-- /value -->, twice
<!-- value:{QUERY}&format=percent0 --><!-- /value -->.

The syntax, `<!-- value:x?y=z -->`, and a table's:

```markdown
<!-- table:nothing -->
```
"""


def test_a_page_is_filled_and_its_text_stays(folder):
    text = filled(folder, PAGE)
    rows = read_table(folder / "experiment1_seeds.csv")
    printed = tables.markdown("experiment1_boxes", rows[rows["dataset"] == "synthetic"])
    assert f"<!-- table:{BOXES} -->\n\n{printed}\n\n<!-- /table -->" in text
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
        f"3: table:{BOXES}: the table has changed",
        f"5: value:{QUERY}&format=percent1: has '1 %', the table '97.4 %'",
        f"6: value:{QUERY}&format=percent0: has '', the table '97 %'",
    ]
    assert page.read_text() == PAGE
    readme.refresh(page, folder)
    rows = read_table(folder / "experiment1_seeds.csv")
    rows.loc[rows["metric"] == "mean_iou", "value"] += 0.01
    rows.to_csv(folder / "experiment1_seeds.csv", index=False)
    assert readme.check(page, folder) == [f"{page}:3: table:{BOXES}: the table has changed"]


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
