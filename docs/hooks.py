"""What the site has besides the pages of this folder: notebooks, figures, API, MathJax."""

import json
import re
from pathlib import Path

import mathjax
import nbconvert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from thesislib.reporting import captions

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "figures"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def on_config(config: MkDocsConfig) -> None:
    """Add the pages that are made here to the navigation."""
    notebooks = [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
    api = ["api/index.md", *(f"api/{name}.md" for name in api_pages())]
    config.nav += [{"Notebooks": notebooks}, {"Figures": "figures.md"}, {"API": api}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the files that are made here."""

    def add(uri: str, content: str | bytes) -> None:
        files.append(File.generated(config, uri, content=content))

    def copy(uri: str, path: Path) -> None:
        files.append(File.generated(config, uri, abs_src_path=str(path)))

    # One file, which fetches no other.
    script = Path(mathjax.__file__).parent / "static/mathjax/es5/tex-svg.js"
    copy("javascripts/tex-svg.js", script)
    for path in sorted(FIGURES.rglob("*")):
        if path.suffix in (".png", ".csv") and "private" not in path.parts:
            copy(f"figures/{path.relative_to(FIGURES).as_posix()}", path)
    add("figures.md", figures_page())
    for path in NOTEBOOKS:
        exporter = nbconvert.MarkdownExporter()
        text, resources = exporter.from_filename(str(path))
        for name, content in resources["outputs"].items():
            add(f"notebooks/{path.stem}/{name}", content)
            text = text.replace(f"]({name})", f"]({path.stem}/{name})")
        add(f"notebooks/{path.stem}.md", without_notebook_style(text))
    for name, modules in api_pages().items():
        blocks = "\n\n".join(f"::: {module}" for module in modules)
        add(f"api/{name}.md", f"# {name}\n\n{blocks}\n")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's copies of what lies elsewhere in the repository."""

    def link(match: re.Match) -> str:
        text, target, anchor = match.groups()
        target = re.sub(r"\.ipynb$", ".md", target)
        if page.file.src_uri.count("/") == 0:
            # A page of docs/ links as the repository lies; there its neighbours are one up.
            target = re.sub(r"^\.\./(?=figures/|notebooks/)", "", target)
        elif target.startswith("../docs/"):
            target = target.replace("docs/", "", 1)
        elif re.fullmatch(r"\.\./figures/.*\.html", target) and not made(target):
            return text.lstrip("!").strip("[]")  # drawn by the notebook and not published
        return f"{text}({target}{anchor or ''})"

    def made(target: str) -> bool:
        return files.get_file_from_path(target.removeprefix("../")) is not None

    return re.sub(r"(!?\[[^\]]*\])\(([^)\s#:]+)(#[^)\s]*)?\)", link, markdown)


def without_notebook_style(text: str) -> str:
    """Drop what Jupyter adds to tables of pandas for its own page, and frames of what a run made,
    which is no part of the site."""
    text = re.sub(r"<iframe\b.*?</iframe>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.DOTALL)
    return text.replace('<table border="1" class="dataframe">', '<table class="dataframe">')


def figures_page() -> str:
    """Every figure that is published, by dataset and split, with its caption and origin."""
    manifest = json.loads((FIGURES / "manifest.json").read_text(encoding="utf-8"))
    there = {key: about for key, about in manifest.items() if (FIGURES / f"{key}.png").is_file()}
    return captions.page(there, "figures/{name}.png", "notebooks/{name}.md")


def api_pages() -> dict[str, list[str]]:
    """Modules of each page of the reference: a page per package, one for what lies outside."""
    pages: dict[str, list[str]] = {"thesislib": []}
    for path in sorted((ROOT / "thesislib").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        page = "thesislib" if len(parts) == 2 else parts[1]
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        # A package stands before its modules, whatever their names.
        at = 0 if module == f"thesislib.{page}" or module == page else len(pages.get(page, []))
        pages.setdefault(page, []).insert(at, module)
    return pages
