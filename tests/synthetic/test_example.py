"""The example's folders are as a user would have them, and nothing in them gives people away."""

import pandas as pd
import pytest
from PIL import Image

from thesislib import paths
from thesislib.data.images import read_photo
from thesislib.data.schema import write_annotations
from thesislib.synthetic import example
from thesislib.synthetic.example import FIRST_NAMES, example_photos, name_of
from thesislib.synthetic.parameters import FAMILIES, FAMILY
from thesislib.synthetic.sets import SETS


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """In place of the sets: as many photos as they have, one grey square each."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")

    def make(folder, spec, progress, wait):
        people = [f"p{FAMILIES + at}" for at in range(spec.people)]
        rows = []
        for number in range(spec.photos):
            if spec.sessions:
                who = [people[number % 30]]
                part = divmod(number // 30, 2)
                photo = f"photos/{who[0]}/s{part[0] + 1}_{part[1] + 1:02d}.jpg"
            else:
                who, photo = [people[number], ""], f"photos/scene_{number:05d}.jpg"
            for at, one in enumerate(who):
                box = {"x1": 5 + 20 * at, "y1": 5, "x2": 20 + 20 * at, "y2": 20}
                about = {"photo": photo, "identity": one, "session": "", "width": 48, "height": 32}
                rows.append(about | box)
            (folder / photo).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (48, 32), (number, 90, 90)).save(folder / photo)
        write_annotations(folder, pd.DataFrame(rows))

    monkeypatch.setattr(example, "make", make)
    return tmp_path / "my photos"


def test_two_families_have_names_and_the_third_is_in_photos(drawn):
    made = example_photos(drawn, progress=False)
    people = sorted(path.name for path in made.people.iterdir())
    assert people == sorted(name_of(f"p{FAMILIES + at}") for at in range(2 * FAMILY))
    assert {len(list(path.iterdir())) for path in made.people.iterdir()} == {3}
    shown = sorted(path.name for path in made.photos.iterdir())
    assert shown == sorted(made.truth["photo"].unique())
    assert len(shown) == 20 + 4 * FAMILY + SETS["parties"].photos
    named = made.truth["name"].str.split().str[-1]
    portraits = made.truth[made.truth["photo"].str.startswith("portrait")]
    assert named[portraits.index].value_counts().to_dict() == {
        "Okafor": 40,
        "Berg": 10,
        "Costa": 10,
    }
    assert (made.truth["name"] == "").sum() == SETS["parties"].photos
    assert not any(name in file for file in shown for name in FIRST_NAMES)
    assert read_photo(made.photos / shown[0]).shape == (32, 48, 3)


def test_made_again_nothing_is_written(drawn):
    made = example_photos(drawn, progress=False)
    removed = sorted(made.photos.iterdir())[0]
    content = removed.read_bytes()
    removed.unlink()
    kept = sorted(made.photos.iterdir())[0]
    kept.write_bytes(b"mine")
    again = example_photos(drawn, progress=False)
    assert removed.read_bytes() == content and kept.read_bytes() == b"mine"
    pd.testing.assert_frame_equal(again.truth, made.truth)


def test_everybody_has_a_name_of_their_own():
    assert len(set(FIRST_NAMES)) == len(FIRST_NAMES) == 3 * FAMILY
