"""The site builds without a warning, needs no network, and its links lead somewhere."""

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from thesislib.commands import nets
from thesislib.data.importers import SOURCES
from thesislib.reporting import readme

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = sorted(path.parent.name for path in (ROOT / "thesislib").glob("*/__init__.py"))
# What a browser fetches to show a page; links are only followed by the reader.
FETCHED = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
}


class Page(HTMLParser):
    """What a page fetches, where it links to, and the names of its places."""

    def __init__(self, path):
        super().__init__()
        self.path, self.fetched, self.links, self.ids = path, [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "link" and attributes.get("rel") in ("canonical", "prev", "next"):
            return
        for name, value in attributes.items():
            if value and (tag, name) in FETCHED:
                self.fetched.append(value)
            elif value and (tag, name) == ("a", "href"):
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder; every warning of the build is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    # A look-up of any address but this machine's would fail here, as where there is no network.
    closed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    environment = os.environ | closed | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


def test_every_page_is_there(site, pages):
    expected = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in PAGES}
    expected |= {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    expected |= {f"api/{name}.html" for name in ["thesislib", *PACKAGES]} | {"figures.html"}
    assert expected <= pages.keys()
    assert not list(site.rglob("*.py"))


def test_the_front_page_of_the_reference_names_every_package():
    text = (ROOT / "docs/api/index.md").read_text()
    linked = set(re.findall(r"\]\((\w+)\.md\)", text))
    assert linked == {"thesislib", *PACKAGES}


def test_every_source_of_photos_is_in_the_page_and_the_help():
    page = (ROOT / "docs/data.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", page.split("## Importers")[1], re.M))
    assert listed == {*SOURCES, "merge"}
    help_text = inspect.getdoc(nets.data)
    assert all(re.search(rf"\b{source}\b", help_text) for source in listed)


def test_nothing_is_fetched_from_elsewhere(pages, site):
    for name, page in pages.items():
        outside = [url for url in page.fetched if urlsplit(url).netloc]
        assert not outside, f"{name}: {outside}"
    for path in site.rglob("*.css"):
        urls = re.findall(r"url\(([^)]*)\)|@import ([^;]*);", path.read_text(encoding="utf-8"))
        outside = [url for pair in urls for url in pair if re.match(r"[\"']?(https?:)?//", url)]
        assert not outside, f"{path}: {outside}"


def test_what_pages_fetch_and_link_to_is_there(pages, site):
    missing = []
    for name, page in pages.items():
        if name == "404.html":  # links from the root of wherever it is served
            continue
        for url in page.fetched + page.links:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                missing.append((name, url))
            elif parts.fragment and target.suffix == ".html":
                ids = pages[target.relative_to(site.resolve()).as_posix()].ids
                if unquote(parts.fragment) not in ids | {"__comments", "__skip"}:
                    missing.append((name, url))
    assert not missing


def test_search_and_formulas_come_with_the_site(site):
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    for words in ("smooth", "JointNet", "Data preparation"):
        assert words in index
    assert (site / "javascripts/tex-svg.js").stat().st_size > 1_000_000
    method = (site / "method.html").read_text(encoding="utf-8")
    assert 'class="arithmatex"' in method and "javascripts/tex-svg.js" in method
    # Formulas in docstrings are formulas, and cross references are links.
    models = (site / "api/models.html").read_text(encoding="utf-8")
    assert 'class="arithmatex"' in models and ".. math::" not in models
    assert not re.search(r":(class|func|meth|mod):", models)


def test_private_pictures_are_left_out(site):
    assert not [path for path in site.rglob("*") if "private" in path.parts]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_in_pages_are_those_of_the_tables(path):
    assert readme.check(path, ROOT / "figures/tables") == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_begins_with_a_number_of_the_tables(path):
    # Markdown would take the comment for a block, and end the paragraph there.
    begins = re.compile(r"^\s*([-*] )?<!-- (value|claim)", re.MULTILINE)
    assert not begins.search(path.read_text(encoding="utf-8"))
