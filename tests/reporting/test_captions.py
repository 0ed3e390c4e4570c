"""The page of figures tells of each what it shows and where it comes from."""

from thesislib.reporting.captions import page


def test_every_figure_has_its_caption_notebook_command_and_table():
    about = {"caption": "Names and boxes.", "profile": "quick", "seed": [0, 1]}
    manifest = {
        "b-photo/one": about | {"notebook": "03_baseline_comparison.ipynb"},
        "a-photo/two": about | {"notebook": "09_of_mine.ipynb", "seed": 3},
        "b-photo/three": about | {"notebook": "04_transfer_learning.ipynb"},
    }
    text = page(manifest, "{name}.png", "../notebooks/{name}.ipynb")
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        *("# Figures", "## a-photo", "### two", "## b-photo", "### one", "### three"),
    ]
    assert "![Names and boxes.](b-photo/one.png)" in text
    assert "[03_baseline_comparison](../notebooks/03_baseline_comparison.ipynb)" in text
    assert "`thesislib experiment1, compare, benchmark`; `experiment1*.csv, benchmark*.csv`" in text
    assert "profile quick, seeds 0, 1." in text
    assert "[09_of_mine](../notebooks/09_of_mine.ipynb); profile quick, seed 3." in text
