"""Photos from the browser are written into a folder, whole or not at all."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from thesislib.data.images import PhotoError, read_photo
from thesislib.engine.predict import photos_in
from thesislib.widgets.upload import PhotoUpload


def photo(grey=100):
    data = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), grey, np.uint8)).save(data, "PNG")
    return data.getvalue()


def chosen(*files):
    """As ipywidgets tells of files."""
    about = {"type": "", "size": 1, "last_modified": datetime.now(UTC)}
    return tuple(about | {"name": name, "content": memoryview(data)} for name, data in files)


def test_photos_are_written_and_the_rest_is_told(tmp_path):
    told = []
    upload = PhotoUpload(tmp_path / "мои фото", changed=lambda: told.append(1))
    upload.button.value = chosen(("a b.png", photo()), ("notes.txt", b"hello"), ("torn.png", b""))
    assert [path.name for path in (tmp_path / "мои фото").iterdir()] == ["a b.png"]
    assert read_photo(tmp_path / "мои фото" / "a b.png").shape == (20, 30, 3)
    first, *wrong = upload.message.value.split("<br>")
    assert first.startswith("1 photo written to") and told == [1]
    assert [line.split(":")[0] for line in wrong] == ["notes.txt.jpg", "torn.png"]
    assert upload.button.value == ()


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    upload = PhotoUpload(tmp_path)
    assert upload.add("1.png", photo(1)) == upload.add("1.png", photo(1)) == tmp_path / "1.png"
    assert upload.add("1.png", photo(2)).name == "1 (2).png"
    assert upload.add("1.png", photo(3)).name == "1 (3).png"
    assert read_photo(tmp_path / "1.png").max() == 1


def test_no_name_leads_out_of_the_folder(tmp_path):
    upload = PhotoUpload(tmp_path / "here", of_people=True)
    for person in ("../Anna", "Anna/Boris", "a:b", "..", "C:\\Anna"):
        upload.name.value = person
        with pytest.raises(ValueError, match="a folder is to bear this name"):
            upload.add("1.png", photo())
    upload.name.value = "Anna"
    for name in ("../../evil.png", "C:\\photos\\evil.png", "/evil.png"):
        assert upload.add(name, photo()) == tmp_path / "here" / "Anna" / "evil.png"


def test_of_people_a_name_is_needed(tmp_path):
    upload = PhotoUpload(tmp_path / "here", of_people=True)
    with pytest.raises(ValueError, match="whose photos are these"):
        upload.add("1.png", photo())
    upload.button.value = chosen(("1.png", photo()))
    assert "whose photos are these" in upload.message.value
    with pytest.raises(PhotoError, match=r"^x\.png: "):
        upload.name.value = "Анна"
        upload.add("x.png", b"no photo")
    assert not list((tmp_path / "here").rglob("*.png"))
    upload.button.value = chosen(("1.png", photo()))
    assert (tmp_path / "here" / "Анна" / "1.png").is_file()


@pytest.mark.parametrize(
    "given, kept",
    [
        ("image", "image.png"),
        ("", "photo.png"),
        ("scan.pdf", "scan.pdf.png"),
        ("IMG.JPG.download", "IMG.JPG.download.png"),
        ("party.recognised.jpg", "party recognised.jpg"),
        ("a.PNG", "a.PNG"),
    ],
)
def test_every_photo_is_found_again_by_its_name(tmp_path, given, kept):
    assert PhotoUpload(tmp_path).add(given, photo()).name == kept
    assert [path.name for path in photos_in(tmp_path)] == [kept]


def test_long_names_and_folders_that_cannot_be_written(tmp_path):
    assert len(PhotoUpload(tmp_path).add(200 * "я" + ".png", photo()).name.encode()) <= 255
    (tmp_path / "file").write_text("in the way")
    upload = PhotoUpload(tmp_path / "file")
    upload.button.value = chosen(("1.png", photo()))
    assert "file" in upload.message.value and upload.button.value == ()
