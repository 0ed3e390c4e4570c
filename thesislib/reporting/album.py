"""An album of a folder of photos: one HTML file, by person, that needs no network."""

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.images import open_photo

FACE_PX = 112  # side of a face in the file
_ROOM = 0.25  # of a face's sides, shown around it
# The browser is told to load nothing but the photos beside the page.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font-family: Georgia, serif; margin: 1.5em; color: #222222; background: #ffffff }}
h2 {{ font-size: 1.1em; margin: 1.4em 0 0.4em }}
h2 span {{ color: #6a6a6a; font-weight: normal }}
nav a {{ margin-right: 0.8em; white-space: nowrap }}
ul {{ list-style: none; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: 6px }}
li {{ position: relative }}
img {{ width: {px}px; height: {px}px; object-fit: cover; display: block; border-radius: 4px }}
li span {{ display: none; position: absolute; left: 0; right: 0; bottom: 0; padding: 3px 5px; \
font-size: 0.7em; color: #ffffff; background: rgba(0, 0, 0, 0.75); overflow-wrap: anywhere }}
li a:hover span, li a:focus span {{ display: block }}
a {{ color: #0072B2 }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<nav>{contents}</nav>
{sections}
</body>
</html>
"""


def write(
    faces: pd.DataFrame,
    photos: Path | str,
    path: Path | str,
    title: str = "Album",
    about: str = "",
) -> Path:
    """Write an album; the same faces give the same bytes.

    People who are known come first, by name, then those whom nobody has named, a section for each
    who is in more than one photo, then single faces. Under the pointer a face shows how much it is
    like the person and how sure it is that it is a face; a click opens its photo.

    Args:
        faces: a row per face: ``photo`` (path below ``photos``), ``x1, y1, x2, y2`` (pixels),
            ``score``, ``name`` ("" for nobody), ``name_score`` and, of nobody, ``group`` (a
            number for each person, see :func:`thesislib.deploy.clusters.clusters`).
        photos: the folder that holds them; read, and never written to.
        path: of the HTML file.
        title, about: above the faces.

    Returns:
        ``path``.

    Raises:
        PhotoError: a photo cannot be read.
        ValueError: no faces.
    """
    if not len(faces):
        raise ValueError("faces: none, of which an album could be made")
    photos, path = Path(photos), Path(path)
    faces = faces.sort_values(["photo", *BOX], kind="stable", ignore_index=True)
    pictures = _pictures(faces, photos)
    sections, contents = [], []
    for at, (heading, rows) in enumerate(_people(faces)):
        many = rows["photo"].nunique()
        count = f"{many} photo{'' if many == 1 else 's'}"
        items = "".join(_item(row, pictures[row.Index], photos, path) for row in rows.itertuples())
        named = escape(heading)
        sections.append(f'<h2 id="p{at}">{named} <span>{count}</span></h2>\n<ul>{items}</ul>')
        contents.append(f'<a href="#p{at}">{named}</a>')
    page = _PAGE.format(
        title=escape(title),
        about=escape(about),
        px=FACE_PX,
        contents=" ".join(contents),
        sections="\n".join(sections),
    )
    storage.write_text(path, page)
    return path


def _people(faces: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Headings, and the faces under them."""
    named = faces[faces["name"] != ""]
    found = [(str(name), rows) for name, rows in named.groupby("name")]
    unknown = faces[faces["name"] == ""]
    groups = [rows for _, rows in unknown.groupby("group")]
    several = [rows for rows in groups if len(rows) > 1]
    several.sort(key=lambda rows: (-len(rows), rows.index[0]))
    found += [(f"Somebody, {at}", rows) for at, rows in enumerate(several, start=1)]
    single = [rows for rows in groups if len(rows) == 1]
    return [*found, ("Seen once", pd.concat(single).sort_index())] if single else found


def _pictures(faces: pd.DataFrame, photos: Path) -> dict[int, str]:
    """Each face as a data URI, by its row; a photo is opened once."""
    found = {}
    for name, rows in faces.groupby("photo", sort=False):
        pixels = open_photo(photos / str(name))
        for row in rows.itertuples():
            found[row.Index] = _cut(pixels, [getattr(row, side) for side in BOX])
    return found


def _cut(pixels: np.ndarray, box: Sequence[float]) -> str:
    x1, y1, x2, y2 = box
    half = (0.5 + _ROOM) * max(x2 - x1, y2 - y1, 1)
    middle = [(x1 + x2) / 2, (y1 + y2) / 2]
    height, width = pixels.shape[:2]
    left, top = (max(0, round(at - half)) for at in middle)
    right, bottom = min(width, round(middle[0] + half)), min(height, round(middle[1] + half))
    face = Image.fromarray(pixels[top : max(bottom, top + 1), left : max(right, left + 1)])
    face.thumbnail((2 * FACE_PX, 2 * FACE_PX))  # for screens of two pixels a point
    data = io.BytesIO()
    face.save(data, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _item(row: object, picture: str, photos: Path, path: Path) -> str:
    where = (photos / row.photo).resolve()  # type: ignore[attr-defined]
    try:
        link = quote(Path(os.path.relpath(where, path.resolve().parent)).as_posix())
    except ValueError:  # on another drive
        link = where.as_uri()
    who = row.name or "nobody"  # type: ignore[attr-defined]
    told = f"{row.photo}: {who}, similarity {row.name_score:.2f}, face {row.score:.2f}"  # type: ignore[attr-defined]
    text = escape(told)
    image = f'<img src="{picture}" alt="{text}">'
    return f'<li><a href="{escape(link)}">{image}<span>{text}</span></a></li>'
