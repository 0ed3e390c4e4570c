"""The interactive map is one file, the same each time, that loads nothing."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thesislib.reporting import interactive_map


def map_points(people=("seen", "unseen"), photos=4, factors=True):
    random = np.random.default_rng(0)
    rows = []
    for method in ("tsne", "umap"):
        for map_seed in (0, 1):
            for group in people:
                for person in range(3):
                    for photo in range(photos):
                        row = {
                            "dataset": "synthetic",
                            "profile": "quick",
                            "arm": "linear",
                            "method": method,
                            "map_seed": map_seed,
                            "photo": f"{group}/{person}/{photo}.png",
                            "identity": f"{group[0]}{person}",
                            "people": group,
                            "x": random.normal(),
                            "y": random.normal(),
                            "trustworthiness": 0.9 + 0.01 * map_seed,
                            "continuity": 0.95,
                        }
                        if factors:
                            row |= {
                                "factor_yaw": 20.0 * photo - 30,
                                "factor_pitch": random.uniform(-20, 20),
                                "factor_light_azimuth": random.uniform(-60, 60),
                                "session": photo // 2,
                            }
                        rows.append(row)
    return pd.DataFrame(rows)


def faces_of(table):
    """Photo and identity of each face."""
    return sorted(set(zip(table["photo"], table["identity"], strict=True)))


def thumbnails(table):
    random = np.random.default_rng(1)
    return {
        face: np.full((60, 48, 3), random.integers(0, 255, 3), np.uint8) for face in faces_of(table)
    }


def item(path):
    """Bokeh's document in the file."""
    text = path.read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="item">(.*?)</script>', text)[1]
    )


def found(value, name):
    """Attributes of the objects of a class, in the document."""
    if isinstance(value, dict):
        if value.get("type") == "object" and value.get("name") == name:
            yield value["attributes"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from found(one, name)


def data(path):
    (source,) = found(item(path), "ColumnDataSource")
    return dict(source["data"]["entries"])


def buttons(path):
    return [group["labels"] for group in found(item(path), "RadioButtonGroup")]


def test_same_map_gives_same_bytes(tmp_path):
    table = map_points()
    one = interactive_map.write(table, tmp_path / "one.html", thumbnails(table))
    two = interactive_map.write(table, tmp_path / "two.html", thumbnails(table))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_map_loads_nothing(tmp_path):
    table = map_points()
    text = interactive_map.write(table, tmp_path / "a.html", thumbnails(table)).read_text()
    bare = re.sub(r"(<script[^>]*>).*?</script>", r"\1", text, flags=re.DOTALL)
    assert "default-src 'none'" in bare
    assert bare.count("<script") > 3
    assert not re.search(r"\bsrc=|\bhref=|<link|@import|url\(|://", bare)


def test_columns_are_those_of_the_table(tmp_path):
    table = map_points()
    path = interactive_map.write(table, tmp_path / "a.html")
    columns = data(path)
    assert "face" not in columns
    for name, method, map_seed in (
        ("UMAP, map seed 0", "umap", 0),
        ("t-SNE, map seed 1", "tsne", 1),
    ):
        own = table[(table["method"] == method) & (table["map_seed"] == map_seed)]
        at = own.set_index("photo").loc[columns["photo"]]
        assert columns[f"{name} x"] == pytest.approx(list(at["x"]), rel=1e-4)
        assert columns[f"{name} y"] == pytest.approx(list(at["y"]), rel=1e-4)
        assert columns["identity"] == list(at["identity"])
        assert columns["factor_yaw"] == list(at["factor_yaw"])
    assert columns["x"] == columns["UMAP, map seed 0 x"]
    assert set(zip(columns["people"], columns["marker"], strict=True)) == {
        ("seen", "circle"),
        ("unseen", "triangle"),
    }


def test_buttons_choose_map_and_colour(tmp_path):
    path = interactive_map.write(map_points(), tmp_path / "a.html")
    maps, colours = buttons(path)
    assert maps == [f"{one}, map seed {seed}" for one in ("UMAP", "t-SNE") for seed in (0, 1)]
    assert colours == ["person", "seen or not", "sitting", "yaw", "pitch", "light"]
    columns = data(path)
    choices = [name for name in columns if name.startswith("colour ")]
    assert len(choices) == len(colours)
    for choice in choices:
        assert len(columns[choice]) == len(columns["photo"])
    assert len(set(columns["colour person"])) == 6
    assert len(set(columns["colour people"])) == len(set(columns["colour session"])) == 2
    by_yaw = dict(zip(columns["factor_yaw"], columns["colour factor_yaw"], strict=True))
    assert (by_yaw[-30], by_yaw[30]) == ("#440154", "#fde725")


def test_each_group_of_a_map_has_its_trust(tmp_path):
    table = map_points()
    table.loc[table["people"] == "unseen", "trustworthiness"] -= 0.1
    path = interactive_map.write(table, tmp_path / "a.html")
    texts = [text for one in found(item(path), "Div") for text in [one["text"]]]
    assert (
        "seen in training: trustworthiness 0.900, continuity 0.950; "
        "never seen: trustworthiness 0.800, continuity 0.950"
    ) in texts


def test_map_in_russian(tmp_path, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    path = interactive_map.write(map_points(), tmp_path / "a.html")
    assert '<html lang="ru">' in path.read_text(encoding="utf-8")
    assert buttons(path)[1][2] == "съёмка"
    texts = [one["text"] for one in found(item(path), "Div")]
    assert any("достоверность 0,900" in text for text in texts)


def test_real_people_have_no_factors_and_no_faces(tmp_path):
    path = interactive_map.write(map_points(("seen",), factors=False), tmp_path / "a.html")
    assert buttons(path)[1] == ["person", "seen or not"]
    assert "<img" not in next(found(item(path), "HoverTool"))["tooltips"]


def test_faces_are_small_pictures(tmp_path):
    table = map_points()
    shown = thumbnails(table)
    shown.pop(("seen/0/0.png", "s0"))
    path = interactive_map.write(table, tmp_path / "a.html", shown)
    faces = dict(zip(*(data(path)[name] for name in ("photo", "face")), strict=True))
    assert faces["seen/0/0.png"] == ""
    head, _, code = faces["unseen/2/1.png"].partition(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(code)))
    assert max(picture.size) == interactive_map.FACE_PX
    colour = np.asarray(picture).reshape(-1, 3).mean(axis=0)
    assert colour == pytest.approx(shown["unseen/2/1.png", "u2"][0, 0], abs=4)


def test_each_of_several_people_in_a_photo_has_a_point_and_a_face(tmp_path):
    table = map_points(("seen",))
    table["photo"] = table["photo"].str.replace(r"/\d/", "/", regex=True)  # all three in each photo
    shown = thumbnails(table)
    columns = data(interactive_map.write(table, tmp_path / "a.html", shown))
    assert len(set(columns["photo"])) == 4
    people = list(zip(columns["photo"], columns["identity"], strict=True))
    assert sorted(people) == faces_of(table) and len(people) == 12
    for name, method in (("UMAP, map seed 1", "umap"), ("t-SNE, map seed 1", "tsne")):
        own = table[(table["method"] == method) & (table["map_seed"] == 1)]
        at = own.set_index(["photo", "identity"])["x"]
        assert columns[f"{name} x"] == pytest.approx([at[face] for face in people], rel=1e-4)
    for face, code in zip(people, columns["face"], strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(code.partition(",")[2])))
        colour = np.asarray(picture).reshape(-1, 3).mean(axis=0)
        assert colour == pytest.approx(shown[face][0, 0], abs=4)


def test_names_are_text_and_not_html(tmp_path):
    table = map_points().replace({"identity": {"s0": "</script><b>"}})
    path = interactive_map.write(table, tmp_path / "a.html", title="<i>maps</i>")
    assert "</script><b>" in data(path)["identity"]
    assert "<i>" not in path.read_text()


def test_six_hundred_faces_stay_below_three_megabytes(tmp_path):
    table = map_points(photos=100)
    random = np.random.default_rng(2)
    shown = {}
    for face in faces_of(table):
        ramp = np.add.outer(np.arange(48.0), np.arange(48.0))[..., None] * random.uniform(0, 2.5, 3)
        shown[face] = np.clip(ramp + random.normal(0, 6, ramp.shape), 0, 255).astype(np.uint8)
    assert len(shown) == 600
    assert interactive_map.write(table, tmp_path / "a.html", shown).stat().st_size < 3e6


def test_bad_tables_are_errors(tmp_path):
    table, path = map_points(), tmp_path / "a.html"
    with pytest.raises(ValueError, match="experiment3_map: no rows"):
        interactive_map.write(pd.DataFrame(), path)
    for column in ("dataset", "profile", "arm"):
        two = pd.concat([table, table.assign(**{column: "z"})])
        with pytest.raises(ValueError, match=rf"several in column {column} \(.*, z\); choose one"):
            interactive_map.write(two, path)
    with pytest.raises(ValueError, match=r"UMAP, map seed 0 has s0 in seen/0/0\.png twice"):
        interactive_map.write(pd.concat([table, table]), path)
    last = table["method"].eq("umap") & table["photo"].eq("seen/0/0.png") & table["map_seed"].eq(1)
    lacking = r"s0 in seen/0/0\.png is not in every map: UMAP, map seed 1"
    with pytest.raises(ValueError, match=lacking):
        interactive_map.write(table[~last], path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser Chromium")
def test_browser_draws_it_without_an_error(tmp_path):
    table = map_points()
    path = interactive_map.write(table, tmp_path / "a.html", thumbnails(table))
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=8000",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'browser'}",
            f"--screenshot={tmp_path / 'a.png'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    assert any("document idle" in line for line in said), done.stderr
    assert not any("rror" in line or "refused" in line.lower() for line in said)
    colours = Image.open(tmp_path / "a.png").convert("RGB").getcolors(2**24)
    assert len(colours) > 20
