"""The tables of the pages once more, in the language of figures: as LaTeX, for a thesis, and as
Markdown, with all figures and their captions."""

from collections.abc import Iterable
from pathlib import Path

from thesislib import paths, storage
from thesislib.reporting import captions, readme, tables
from thesislib.reporting.figures.save import folder_of, read_manifest
from thesislib.reporting.language import _, language

PAGES = ("README.md", "docs/*.md")


def write(
    pages: Iterable[Path] | None = None, tables_folder: Path | None = None, to: Path | None = None
) -> list[Path]:
    """Write what pages show as tables.

    Args:
        pages: Markdown with placeholders, see :mod:`thesislib.reporting.readme`; README and the
            docs where not given.
        tables_folder: with ``experiment1.csv`` and so on; the published ones where not given.
        to: folder; that of the language's figures where not given. It gets ``README.md`` and, by
            the name of the table and its number among those of that name, ``tables/<name>-1.tex``.

    Returns:
        the files.

    Raises:
        ValueError: a placeholder that the tables do not fill.
        OSError: a file cannot be written; each is written whole or not at all.
    """
    pages = pages or [file for one in PAGES for file in sorted(paths.ROOT.glob(one))]
    source, to = tables_folder or paths.PUBLISHED_TABLES, to or folder_of(language())
    manifest = read_manifest(to)
    told = [captions.page(manifest, "{name}.png", "../../notebooks/{name}.ipynb")]
    heading = _("Tables")
    told += ["", f"# {heading}"]
    files: dict[Path, str] = {}
    for query in dict.fromkeys(query for page in pages for query in readme.tables_in(page)):
        name, rows = readme.rows_of(query, source)
        number = 1 + sum(file.name.startswith(f"{name}-") for file in files)
        file = to / "tables" / f"{name}-{number}.tex"
        files[file] = f"% {query}\n{tables.latex(name, rows)}"
        told += ["", f"## {name}-{number}", "", f"`{query}`", "", tables.markdown(name, rows)]
    files[to / "README.md"] = "\n".join(told) + "\n"
    for file, text in files.items():
        storage.write_text(file, text)
    return list(files)
