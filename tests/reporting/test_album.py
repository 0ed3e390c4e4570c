"""An album holds every face under its person, and asks the network for nothing."""

import re
import shutil
import subprocess
from html import unescape
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from conftest import noise
from PIL import Image

from thesislib.data.images import PhotoError
from thesislib.reporting import album

ROWS = [
    # photo, box, score, name, name_score, group
    ("лето 2020/a b#1.png", (4, 4, 30, 34), 0.99, "Анна <Ким>", 0.97, -1),
    ("лето 2020/a b#1.png", (40, 4, 66, 34), 0.9, "", 0.5, 1),
    ("b.png", (4, 4, 30, 34), 0.8, "Boris", 0.96, -1),
    ("b.png", (60, 30, 95, 64), 0.7, "", 0.4, 0),
    ("c.png", (-3, -2, 30, 34), 0.6, "", 0.3, 0),
    ("c.png", (40, 4, 66, 34), 0.6, "", 0.2, 2),
]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "мои фото"
    for at, name in enumerate(dict.fromkeys(row[0] for row in ROWS)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(64, 96, seed=at)).save(path)
    return folder


@pytest.fixture
def faces():
    rows = [(photo, *box, *rest) for photo, box, *rest in ROWS]
    columns = ["photo", "x1", "y1", "x2", "y2", "score", "name", "name_score", "group"]
    return pd.DataFrame(rows, columns=columns)


def sections_of(page):
    """Headings, and what is told of the faces under each."""
    found = re.findall(r"<h2 id=\"p\d+\">(.*?) <span>(.*?)</span></h2>\n<ul>(.*?)</ul>", page)
    return [
        (unescape(heading), count, [unescape(alt) for alt in re.findall(r'alt="(.*?)"', items)])
        for heading, count, items in found
    ]


def test_people_then_groups_then_single_faces(photos, faces, tmp_path):
    path = album.write(faces, photos, tmp_path / "album.html", title="2020 & before")
    page = path.read_text(encoding="utf-8")
    assert sections_of(page) == [
        ("Boris", "1 photo", ["b.png: Boris, similarity 0.96, face 0.80"]),
        (
            "Анна <Ким>",
            "1 photo",
            ["лето 2020/a b#1.png: Анна <Ким>, similarity 0.97, face 0.99"],
        ),
        (
            "Somebody, 1",
            "2 photos",
            [
                "b.png: nobody, similarity 0.40, face 0.70",
                "c.png: nobody, similarity 0.30, face 0.60",
            ],
        ),
        (
            "Seen once",
            "2 photos",
            [
                "c.png: nobody, similarity 0.20, face 0.60",
                "лето 2020/a b#1.png: nobody, similarity 0.50, face 0.90",
            ],
        ),
    ]
    assert "<h1>2020 &amp; before</h1>" in page
    assert re.findall(r'href="#(.*?)"', page) == re.findall(r'h2 id="(.*?)"', page)


def test_photos_open_and_nothing_else_is_asked_for(photos, faces, tmp_path):
    path = album.write(faces, photos, tmp_path / "below" / "album.html")
    page = path.read_text(encoding="utf-8")
    links = [unquote(unescape(link)) for link in re.findall(r'<li><a href="(.*?)"', page)]
    assert len(links) == len(faces)
    assert {(path.parent / link).resolve() for link in links} == {
        (photos / row[0]).resolve() for row in ROWS
    }
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")
    assert all(one.startswith("data:image/jpeg") for one in re.findall(r'src="(.*?)"', page))
    again = album.write(faces[::-1], photos, tmp_path / "below" / "again.html")
    assert again.read_bytes() == path.read_bytes()


def test_what_cannot_be_shown_is_told(photos, faces, tmp_path):
    with pytest.raises(ValueError, match="faces: none"):
        album.write(faces[:0], photos, tmp_path / "a.html")
    with pytest.raises(PhotoError, match=r"missing\.png"):
        album.write(faces.assign(photo="missing.png"), photos, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_a_face_is_shown_with_some_room_within_the_photo():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[10:30, 10:40] = 255
    shown = album._cut(pixels, (10, 10, 40, 30))
    assert shown.startswith("data:image/jpeg;base64,")
    edge = album._cut(pixels, (90, 60, 200, 300))  # mostly outside
    assert edge.startswith("data:image/jpeg;base64,")


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser Chromium")
def test_a_browser_shows_it_from_a_file(photos, faces, tmp_path):
    path = album.write(faces, photos, tmp_path / "a.html")
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    words += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
    words += ["--virtual-time-budget=4000", "--enable-logging=stderr"]
    words += [f"--user-data-dir={tmp_path / 'browser'}", f"--screenshot={tmp_path / 'a.png'}"]
    done = subprocess.run([*words, path.as_uri()], capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    assert not any("rror" in line or "refused" in line.lower() for line in said), said
    colours = Image.open(tmp_path / "a.png").convert("RGB").getcolors(2**24)
    assert len(colours) > 1000  # noise of six faces
