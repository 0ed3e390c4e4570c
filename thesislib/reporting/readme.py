"""Writes the results into pages, between markers."""

from pathlib import Path

from thesislib import paths, storage
from thesislib.reporting.tables import (
    benchmark_markdown,
    experiment1_latex,
    experiment1_markdown,
    experiment2_markdown,
    experiment3_markdown,
)
from thesislib.tables import MAIN_ARM, read_results, read_table


def _marked(path: Path, text: str, marker: str) -> tuple[int, int]:
    """Where the text between the two comments begins and ends."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    for comment in (begin, end):
        if text.count(comment) != 1:
            raise ValueError(f"{path}: expected {comment} once, found {text.count(comment)}")
    start, stop = text.index(begin) + len(begin), text.index(end)
    if stop < start:
        raise ValueError(f"{path}: {end} stands before {begin}")
    return start, stop


def write_into(readme_path: Path | str, marker: str, text: str) -> None:
    """Put generated text between two comments of a page, and leave the rest of it as it is.

    Args:
        readme_path: page with ``<!-- marker:begin -->`` and, further down, ``<!-- marker:end -->``.
        marker: name of the pair.
        text: what is to stand between them.

    Raises:
        ValueError: a comment of the pair is missing or there twice, in the page or once ``text``
            would be in it; the page is left as it was.
    """
    path = Path(readme_path)
    page = path.read_text(encoding="utf-8")
    start, stop = _marked(path, page, marker)
    body = text.strip("\n")
    # A blank line on either side: next to a comment Markdown would not see a table.
    page = f"{page[:start]}\n\n{body}\n\n{page[stop:]}"
    _marked(path, page, marker)
    storage.write_text(path, page)


def read_from(readme_path: Path | str, marker: str) -> str:
    """Read what :func:`write_into` wrote, so that a test can compare page and table.

    Args:
        readme_path: page with the pair of comments.
        marker: name of the pair.

    Returns:
        The text between them, without the blank lines around it.

    Raises:
        ValueError: a comment of the pair is missing or there twice.
    """
    path = Path(readme_path)
    page = path.read_text(encoding="utf-8")
    start, stop = _marked(path, page, marker)
    return page[start:stop].strip("\n")


def main() -> None:
    """Write the README's tables and the thesis's LaTeX table from the results."""
    table = read_results(paths.TABLES / "experiment1.csv")
    storage.write_text(paths.TABLES / "experiment1.tex", experiment1_latex(table) + "\n")
    readme = paths.ROOT / "README.md"
    write_into(readme, "experiment1", experiment1_markdown(table))
    write_into(
        readme, "experiment2", experiment2_markdown(read_table(paths.TABLES / "experiment2.csv"))
    )
    table = read_table(paths.TABLES / "experiment3.csv")
    write_into(readme, "experiment3", experiment3_markdown(table, MAIN_ARM))
    benchmark = read_table(paths.PUBLISHED_TABLES / "benchmark.csv")
    write_into(readme, "benchmark", benchmark_markdown(benchmark))


if __name__ == "__main__":
    main()
