"""What annotation tools write: the same photos and boxes from each of their forms."""

import json
import tempfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import looks, picture, quietly, save, write

from thesislib.data.columns import BOX
from thesislib.data.importers import SourceError
from thesislib.data.importers.labels import identity_in, is_face, kinds_of, name_of
from thesislib.data.importers.source import Source

# --- the forms, as the tools write them ---------------------------------------------------------
#
# Each is given (photo's path, (width, height), [(label, identity, (x1, y1, x2, y2))]).


def write_coco(folder, photos):
    labels = sorted({label for *_, boxes in photos for label, *_ in boxes})
    write(
        folder / "annotations.json",
        json.dumps(
            {
                "images": [
                    {"id": at, "file_name": name, "width": size[0], "height": size[1]}
                    for at, (name, size, _) in enumerate(photos)
                ],
                "categories": [{"id": at, "name": label} for at, label in enumerate(labels)],
                "annotations": [
                    {
                        "image_id": at,
                        "category_id": labels.index(label),
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "attributes": {"identity": identity},
                    }
                    for at, (*_, boxes) in enumerate(photos)
                    for label, identity, (x1, y1, x2, y2) in boxes
                ],
            }
        ),
    )


def write_yolo(folder, photos, polygons=False):
    labels = sorted({label for *_, boxes in photos for label, *_ in boxes})
    write(folder / "data.yaml", yaml.safe_dump({"names": labels}, allow_unicode=True))
    for name, (width, height), boxes in photos:
        lines = []
        for label, _, (x1, y1, x2, y2) in boxes:
            if polygons:
                values = [x1, y1, x2, y1, x2, y2, (x1 + x2) / 2, y2, x1, y1]
                values = [v / (width, height)[at % 2] for at, v in enumerate(values)]
            else:
                values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height]
                values += [(x2 - x1) / width, (y2 - y1) / height]
            lines.append(" ".join([str(labels.index(label)), *map(repr, values)]))
        path = folder / Path(name.replace("\\", "/")).with_suffix(".txt")
        write(path, "\n".join(lines) + "\n")


def write_pascal_voc(folder, photos):
    for at, (name, (width, height), boxes) in enumerate(photos):
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x1!r}</xmin><ymin>{y1!r}</ymin>"
            f"<xmax>{x2!r}</xmax><ymax>{y2!r}</ymax></bndbox></object>"
            for label, _, (x1, y1, x2, y2) in boxes
        )
        write(
            folder / f"{at}.xml",
            f"<annotation><folder>x</folder><filename>{name}</filename><size><width>{width}"
            f"</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>",
        )


def write_labelme(folder, photos):
    for at, (name, (width, height), boxes) in enumerate(photos):
        shapes = [
            # Corners in the order in which they were drawn: here from the right below.
            {"label": label, "shape_type": "rectangle", "points": [[x2, y2], [x1, y1]]}
            for label, _, (x1, y1, x2, y2) in boxes
        ]
        table = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name}
        table |= {"imageWidth": width, "imageHeight": height, "imageData": None}
        write(folder / f"{at}.json", json.dumps(table))


def write_cvat(folder, photos):
    images = ""
    for at, (name, (width, height), boxes) in enumerate(photos):
        shapes = "".join(
            f"<box label={quoteattr(label)} occluded='0' xtl='{x1!r}' ytl='{y1!r}' xbr='{x2!r}' "
            f"ybr='{y2!r}' z_order='0'><attribute name='Identity'>{identity}</attribute></box>"
            for label, identity, (x1, y1, x2, y2) in boxes
        )
        images += f"<image id='{at}' name={quoteattr(name)} width='{width}' height='{height}'>"
        images += f"{shapes}</image>"
    write(folder / "annotations.xml", f"<annotations><version>1.1</version>{images}</annotations>")


def write_via(folder, photos):
    images = {
        f"{name}123": {
            "filename": name,
            "size": 123,
            "regions": [
                {
                    "shape_attributes": {
                        "name": "rect",
                        **{"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
                    },
                    "region_attributes": {"type": label, "name": identity},
                }
                for label, identity, (x1, y1, x2, y2) in boxes
            ],
        }
        for name, _, boxes in photos
    }
    write(folder / "via_project.json", json.dumps({"_via_img_metadata": images}))


FORMS = {
    "coco": write_coco,
    "yolo": write_yolo,
    "pascal_voc": write_pascal_voc,
    "labelme": write_labelme,
    "cvat": write_cvat,
    "via": write_via,
}
forms = pytest.mark.parametrize("form", FORMS)
# Forms in which a box has a name beside its label, and those that tell the photo's size.
NAMED, SIZED = {"coco", "cvat", "via"}, {"coco", "pascal_voc", "labelme", "cvat"}

SIZE = (64, 48)
ANNA, BOB = (10.0, 5.0, 30.0, 30.0), (35.0, 5.0, 55.0, 25.5)
PEOPLE = [
    ("one.jpg", SIZE, [("anna", "", ANNA), ("bob", "", BOB)]),
    ("more/two.png", SIZE, [("bob", "", ANNA)]),
]
FACES = [
    (name, size, [("Human face", label, box) for label, _, box in boxes])
    for name, size, boxes in PEOPLE
]


def source_of(folder, form, photos, **options):
    for at, (name, size, _) in enumerate(photos):
        save(picture(at, *size), folder / name.replace("\\", "/"))
    FORMS[form](folder, photos, **options)
    return folder


def told(table):
    return {
        (Path(row.photo).stem, row.identity): [row.x1, row.y1, row.x2, row.y2]
        for row in table.itertuples()
    }


@forms
def test_labels_that_are_peoples_names(form, tmp_path):
    folder = source_of(tmp_path / "source", form, PEOPLE)
    made = quietly(form, folder, tmp_path / "to", labels_are="people")
    wanted = {("one", "anna"): [*ANNA], ("one", "bob"): [*BOB], ("two", "bob"): [*ANNA]}
    assert told(made.table) == wanted
    assert set(made.table["box_source"]) == {"annotation"}
    assert looks(tmp_path / "to") == {}


@forms
def test_labels_that_are_faces(form, tmp_path):
    folder = source_of(tmp_path / "source", form, FACES)
    table = quietly(form, folder, tmp_path / "to").table
    assert table[BOX].to_numpy().tolist() in (
        [[*ANNA], [*BOB], [*ANNA]],
        [[*ANNA], [*ANNA], [*BOB]],
    )
    assert set(table["identity"]) == ({"anna", "bob"} if form in NAMED else {""})


@forms
def test_labels_that_do_not_tell_are_refused(form, tmp_path):
    folder = source_of(tmp_path / "source", form, PEOPLE)
    with pytest.raises(SourceError, match=r"no label is named face among anna, bob; .*labels-are"):
        quietly(form, folder, tmp_path / "to")
    one = [(name, size, [("cat", "", ANNA)]) for name, size, _ in PEOPLE]
    FORMS[form](folder, one)
    with pytest.raises(SourceError, match="no label is named face among cat"):
        quietly(form, folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert len(quietly(form, folder, tmp_path / "to", labels_are="faces").table) == 2


@forms
def test_boxes_of_something_else_are_said_and_alone_leave_their_photo_out(form, tmp_path):
    photos = [
        ("a.jpg", SIZE, [("face", "anna", ANNA), ("dog", "", BOB)]),
        ("b.jpg", SIZE, [("dog", "", BOB)]),
        ("c.jpg", SIZE, [("face", "bob", BOB)]),
    ]
    to = tmp_path / "to"
    made = quietly(form, source_of(tmp_path / "source", form, photos), to)
    assert [Path(photo).stem for photo in made.photos] == ["a", "c"]
    assert looks(to) == {"b.jpg": "boxes of dog alone: left out"}
    assert "1 boxes of dog are passed over" in (to / "import.json").read_text()


@forms
def test_photos_that_are_not_there_and_files_of_no_table_are_listed(form, tmp_path):
    folder = source_of(tmp_path / "source", form, FACES)
    (folder / "more/two.png").unlink()
    save(picture(9), folder / "other.jpg")
    write(folder / "notes.docx", "")
    to = tmp_path / "to"
    made = quietly(form, folder, to, allow=["one-person"])
    assert [Path(photo).stem for photo in made.photos] == ["one"]
    listed = looks(to)
    assert listed.pop("notes.docx") == "no photo that is read: left out"
    assert "left out" in listed.pop("other.jpg")
    (reason,) = listed.values()
    assert reason in ("more/two.png is not there", "labels without their photo")


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"yolo"}))  # there an error names the line
def test_a_photo_with_a_broken_box_is_left_out(form, tmp_path):
    folder = source_of(tmp_path / "source", form, FACES)
    for path in [*folder.rglob("*.json"), *folder.rglob("*.xml")]:
        # The side that only one.jpg's second box has.
        text = path.read_text()
        path.write_text(text.replace("25.5", "NaN").replace("20.5", "NaN"))
    to = tmp_path / "to"
    made = quietly(form, folder, to, allow=["one-person"])
    assert [Path(photo).stem for photo in made.photos] == ["two"]
    assert "is none: left out" in looks(to)["one.jpg"]


@forms
def test_either_slash_parts_folders(form, tmp_path):
    photos = [(name.replace("/", "\\"), size, boxes) for name, size, boxes in FACES]
    folder = source_of(tmp_path / "source", form, photos)
    assert len(quietly(form, folder, tmp_path / "to").photos) == 2


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"yolo"}))  # there places tell it
def test_a_name_that_two_photos_have_is_not_guessed(form, tmp_path):
    folder = source_of(tmp_path / "source", form, PEOPLE[:1])
    (folder / "labels").mkdir()
    for path in [*folder.glob("*.json"), *folder.glob("*.xml")]:
        path.rename(folder / "labels" / path.name)
    (folder / "a").mkdir()
    (folder / "one.jpg").rename(folder / "a/one.jpg")
    save(picture(7), folder / "b/one.jpg")
    with pytest.raises(SourceError, match=r"one\.jpg in .* may be any of 2 files: left out"):
        quietly(form, folder, tmp_path / "to", labels_are="people")
    save(picture(7), folder / "labels/one.jpg")  # beside the table it is that one
    made = quietly(form, folder, tmp_path / "to", labels_are="people")
    assert made.photos == ["photos/labels/one.jpg"]
    assert looks(tmp_path / "to") == dict.fromkeys(
        ["a/one.jpg", "b/one.jpg"], "in no table: left out"
    )


@pytest.mark.parametrize("form", sorted(SIZED))
def test_a_photo_told_of_twice_is_left_out(form, tmp_path):
    photos = [*FACES, (FACES[0][0], SIZE, [("face", "carl", BOB)])]
    to = tmp_path / "to"
    folder = source_of(tmp_path / "source", form, photos)
    assert len(quietly(form, folder, to, allow=["one-person"]).photos) == 1
    assert looks(to) == {"one.jpg": "stands 2 times in the tables: left out"}


@pytest.mark.parametrize("form", sorted(SIZED))
@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_boxes_of_photos_scaled_since_are_scaled(form, tmp_path, factor):
    folder = source_of(tmp_path / "source", form, PEOPLE)
    for name, (width, height), _ in PEOPLE:
        save(picture(1, int(width * factor), int(height * factor)), folder / name)
    made = quietly(form, folder, tmp_path / "to", labels_are="people").table
    np.testing.assert_allclose(made[made["identity"] == "anna"][BOX], [np.multiply(ANNA, factor)])


@pytest.mark.parametrize("form", sorted(SIZED))
def test_boxes_of_photos_of_another_shape_are_left_out(form, tmp_path):
    folder = source_of(tmp_path / "source", form, FACES)
    save(picture(1, 48, 48), folder / "one.jpg")
    to = tmp_path / "to"
    quietly(form, folder, to, allow=["one-person"])
    assert looks(to) == {
        "one.jpg": "boxes are of a photo of 64 x 48 pixels, this one has 48 x 48: left out"
    }


@pytest.mark.parametrize("form", sorted(SIZED))
def test_boxes_of_photos_turned_since_are_turned(form, tmp_path):
    folder = source_of(tmp_path / "source", form, PEOPLE)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    for name, *_ in PEOPLE:
        save(picture(1), folder / name, exif=exif)
    made = quietly(form, folder, tmp_path / "to", labels_are="people").table
    x1, y1, x2, y2 = ANNA
    height = SIZE[1]
    assert told(made)["one", "anna"] == [height - y2, x1, height - y1, x2]


@forms
@pytest.mark.parametrize("text", ["{", "[1]", "<a/>", "\x00", "[[[["])
def test_what_is_not_of_the_form_is_refused_by_name(form, tmp_path, text):
    folder = source_of(tmp_path / "source", form, FACES)
    paths = [*folder.rglob("*.json"), *folder.rglob("*.xml"), *folder.rglob("*.yaml")]
    for path in paths:
        path.write_text(text)
    with pytest.raises(SourceError, match=r"\.(json|xml|yaml)"):
        quietly(form, folder, tmp_path / "to")


@forms
def test_an_empty_folder_says_what_was_looked_for(form, tmp_path):
    save(picture(), tmp_path / "source/a.jpg")
    with pytest.raises(SourceError, match=r"looked for|no \.json file"):
        quietly(form, tmp_path / "source", tmp_path / "to")


def boxes_within(size):
    def box(values):
        (x1, x2), (y1, y2) = (sorted(pair) for pair in (values[:2], values[2:]))
        return (x1, y1, x2 + 1, y2 + 1)

    x, y = (st.integers(0, side - 1).map(float) for side in size)
    return st.tuples(x, x, y, y).map(box)


@pytest.mark.parametrize("form", FORMS)
@given(boxes=st.lists(boxes_within(SIZE), min_size=2, max_size=4, unique=True))
@settings(max_examples=10)
def test_any_boxes_come_back(form, boxes):
    photos = [("Анна и Ко.jpg", SIZE, [(f"p{at}", "", box) for at, box in enumerate(boxes)])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = source_of(Path(temporary) / "source", form, photos)
        made = quietly(form, folder, Path(temporary) / "to", labels_are="people").table
    for at, box in enumerate(boxes):
        np.testing.assert_allclose(made[made["identity"] == f"p{at}"][BOX], [box], atol=0.051)


# --- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label, yes",
    [
        ("face", True),
        ("Face", True),
        ("FACES", True),
        ("human_face", True),
        ("Student-faces", True),
        ("face1", True),
        ("лицо", True),
        ("face_with_mask", True),
        ("no_face", False),
        ("not face", False),
        ("face_mask", False),
        ("surface", False),
        ("facet", False),
        ("typeface", False),
        ("interfaces", False),
        ("anna", False),
        ("", False),
    ],
)
def test_labels_with_the_word_face_are_faces(label, yes):
    assert is_face(label) is yes


@pytest.mark.parametrize(
    "labels, kinds",
    [
        ({"faces": "", "anna": "faces", "bob": "faces"}, "face person person"),
        ({"Student-faces": "none", "anna": "Student-faces"}, "face person"),
        ({"my-project": "none", "anna": "my-project", "bob": "my-project"}, "face person person"),
        ({"person": "person", "face": "person", "hat": "person"}, "other face other"),
        ({"face": "", "surface": ""}, "face other"),
        ({"face": "head", "dog": "animal"}, "face other"),
        ({"": ""}, "face"),
        ({}, ""),
    ],
)
def test_what_labels_stand_for(labels, kinds):
    source = Source(Path("x"))
    assert " ".join(kinds_of(source, labels, None).values()) == kinds
    assert bool(source.said) == ("person" in kinds)


@pytest.mark.parametrize(
    "told, name",
    [
        ("Anna", "Anna"),
        (0, "0"),
        (7.0, "7"),
        (1.5, "1.5"),
        (float("nan"), ""),
        (None, ""),
        (True, ""),
        (False, ""),
        ("true", ""),
        ("__undefined__", ""),
        ({"Anna": True, "Bob": False}, "Anna"),
        ({}, ""),
        (" Анна\u00a0 Ли ", "Анна Ли"),
    ],
)
def test_names_as_tables_have_them(told, name):
    assert name_of(told) == name
    assert identity_in({"Identity": told}) == name
    assert identity_in([told]) == identity_in(told if isinstance(told, str) else None) == ""


# --- what one form has of its own ---------------------------------------------------------------


def test_yolo_in_the_folders_of_its_trainers(tmp_path):
    folder = tmp_path / "yolo"
    for part in ("train", "valid"):
        save(picture(ord(part[0])), folder / f"{part}/images/a.jpg")
        write(folder / f"{part}/labels/a.txt", "0 0.5 0.5 0.25 0.5\n")
    save(picture(3), folder / "train/images/empty.jpg")
    write(folder / "train/labels/empty.txt", "")
    save(picture(4), folder / "train/images/unlabelled.jpg")
    write(folder / "train/labels/gone.txt", "0 0.5 0.5 0.25 0.5\n")
    write(folder / "data.yaml", "names:\n  0: face\n")
    to = tmp_path / "to"
    table = quietly("yolo", folder, to).table
    assert table[BOX].to_numpy()[[0, 2]].tolist() == [[24, 12, 40, 36]] * 2
    assert table.loc[1, BOX].isna().all()  # an empty text file: nobody is in the photo
    assert looks(to) == {
        "train/images/unlabelled.jpg": "no text file with its labels: left out",
        "train/labels/gone.txt": "labels without their photo",
    }


def test_yolo_polygons_and_names_in_a_list(tmp_path):
    folder = source_of(tmp_path / "source", "yolo", PEOPLE)
    write_yolo(folder, PEOPLE, polygons=True)
    (folder / "data.yaml").unlink()
    write(folder / "classes.txt", "anna\nbob\n")
    table = quietly("yolo", folder, tmp_path / "to", labels_are="people").table
    np.testing.assert_allclose(table[BOX], [ANNA, ANNA, BOB][: len(table)], atol=25)
    assert told(table)["one", "bob"] == [*BOB]


def test_yolo_boxes_with_landmarks_are_boxes(tmp_path):
    folder = source_of(tmp_path / "source", "yolo", FACES)
    # 5 points, as yolov5-face writes them: seen within the box, or -1.
    points = "0.45 0.45 0.55 0.45 -1 -1 0.46 0.6 0.54 0.6"
    write(folder / "one.txt", f"0 0.5 0.5 0.25 0.5 {points}\n")
    write(folder / "more/two.txt", "0 0.2 0.2 0.8 0.3 0.7 0.8 0.4 0.9 0.1 0.5 0.15 0.3 0.17 0.25\n")
    table = quietly("yolo", folder, tmp_path / "to").table
    boxes = {Path(row.photo).stem: [row.x1, row.y1, row.x2, row.y2] for row in table.itertuples()}
    assert boxes["one"] == [24, 12, 40, 36]
    np.testing.assert_allclose(boxes["two"], [6.4, 9.6, 51.2, 43.2], atol=0.06)  # a polygon


@pytest.mark.parametrize("names", [["No", "007"], ["12:30", "Yes"], ["1e3", "null"]])
@pytest.mark.parametrize("form", ["data.yaml", "classes.txt"])
def test_names_of_classes_are_text_whatever_they_look_like(tmp_path, names, form):
    save(picture(), tmp_path / "source/a.jpg")
    write(tmp_path / "source/a.txt", "0 0.25 0.5 0.25 0.5\n2 0.75 0.5 0.25 0.5\n")
    if form == "data.yaml":
        write(tmp_path / "source/data.yaml", f"names: [{names[0]}, x, {names[1]}]\n")
    else:
        write(tmp_path / "source/classes.txt", f"{names[0]}\n\n{names[1]}\n\n")
    made = quietly("yolo", tmp_path / "source", tmp_path / "to", labels_are="people")
    assert made.identities == sorted(names)


def test_a_path_of_another_machine_is_not_another_persons_photo(tmp_path):
    folder = tmp_path / "source"
    save(picture(1), folder / "anna/1.jpg")
    save(picture(2), folder / "bob/2.jpg")
    for at, name in enumerate(("/data/bob/1.jpg", "D:\\faces\\bob\\1.jpg", "C:/x/bob/2.jpg")):
        shape = {"label": "face", "points": [[1, 1], [20, 20]], "shape_type": "rectangle"}
        write(folder / f"{at}.json", json.dumps({"imagePath": name, "shapes": [shape]}))
    made = quietly("labelme", folder, tmp_path / "to")
    assert made.photos == ["photos/bob/2.jpg"]
    assert looks(tmp_path / "to")["0.json"] == "/data/bob/1.jpg is not there"
    assert looks(tmp_path / "to")["anna/1.jpg"] == "in no table: left out"


def test_a_mere_name_is_of_the_folder_of_its_table(tmp_path):
    folder = tmp_path / "source"
    save(picture(1), folder / "photos/anna/1.jpg")
    save(picture(2), folder / "photos/bob/2.jpg")
    for person, name in (("anna", "1.jpg"), ("bob", "1.jpg"), ("bob", "2.jpg")):
        text = f"<annotation><filename>{name}</filename><object><name>face</name><bndbox>"
        text += "<xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"
        write(folder / f"xml/{person}/{name}.xml", text + "</annotation>")
    quietly("pascal_voc", folder, tmp_path / "to")
    assert looks(tmp_path / "to") == {"xml/bob/1.jpg.xml": "1.jpg is not there"}


def test_boxes_of_photos_upside_down_go_with_the_other_turned_ones(tmp_path):
    exif = Image.Exif()
    photos = [("a.jpg", SIZE, [("face", "a", ANNA)]), ("b.jpg", SIZE, [("face", "b", ANNA)])]
    folder = source_of(tmp_path / "source", "coco", photos)
    exif[0x0112] = 3
    save(picture(2), folder / "b.jpg", exif=exif)
    table = quietly("coco", folder, tmp_path / "unknown").table
    assert table[BOX].to_numpy()[1].tolist() == [*ANNA]
    assert looks(tmp_path / "unknown") == {
        "b.jpg": "EXIF turns it, and whether its boxes were drawn before is not known"
    }
    exif[0x0112] = 6  # whose size tells that boxes were drawn before EXIF's turn
    save(picture(1), folder / "a.jpg", exif=exif)
    table = quietly("coco", folder, tmp_path / "known").table
    x1, y1, x2, y2 = ANNA
    assert table[BOX].to_numpy()[1].tolist() == [64 - x2, 48 - y2, 64 - x1, 48 - y1]
    assert looks(tmp_path / "known") == {}


@pytest.mark.parametrize(
    "change",
    [
        {"images": [{"id": [1], "file_name": "a.jpg"}]},
        {"annotations": [{"image_id": [1], "bbox": [1, 1, 9, 9]}]},
        {"annotations": [{"image_id": 1, "category_id": [1], "bbox": [1, 1, 9, 9]}]},
        {"annotations": ["x"]},
        {"images": {"id": 1}},
        {"categories": [{"id": 1}]},
    ],
)
def test_odd_values_in_coco_are_refused_in_a_sentence(tmp_path, change):
    save(picture(), tmp_path / "source/a.jpg")
    table = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "face"}]}
    table |= {"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]} | change
    write(tmp_path / "source/a.json", json.dumps(table))
    with pytest.raises(SourceError):
        quietly("coco", tmp_path / "source", tmp_path / "to", allow=["one-person"])


@pytest.mark.parametrize("form", ["coco", "labelme", "via", "yolo"])
def test_tables_nested_without_end_are_refused(tmp_path, form):
    save(picture(), tmp_path / "source/a.jpg")
    write(tmp_path / "source/a.txt", "")
    write(tmp_path / f"source/a.{'yaml' if form == 'yolo' else 'json'}", "[" * 100_000)
    with pytest.raises(SourceError, match=r"a\.(json|yaml)"):
        quietly(form, tmp_path / "source", tmp_path / "to")


@pytest.mark.parametrize(
    "text, message",
    [
        ("0 0.5 0.5 0.25", r"one\.txt, line 1: .* expected 5 numbers"),
        ("face 0.5 0.5 0.25 0.5", r"one\.txt, line 1: .* expected 5 numbers"),
        ("\n7 0.5 0.5 0.25 0.5", r"one\.txt, line 2: class 7 has no name"),
        ("0 0.5 x 0.25 0.5", r"one\.txt, line 1"),
        ("0 0.5 nan 0.25 0.5", r"one\.txt, line 1"),
        ("inf 0.5 0.5 0.25 0.5", r"one\.txt, line 1"),
    ],
)
def test_a_line_of_yolo_that_is_none_is_named(tmp_path, text, message):
    folder = source_of(tmp_path / "source", "yolo", FACES)
    write(folder / "one.txt", text)
    with pytest.raises(SourceError, match=message):
        quietly("yolo", folder, tmp_path / "to")


def test_two_files_of_names_that_differ_are_refused(tmp_path):
    folder = source_of(tmp_path / "source", "yolo", FACES)
    write(folder / "classes.txt", "somebody\n")
    with pytest.raises(SourceError, match=r"classes\.txt: other names of classes than in .*yaml"):
        quietly("yolo", folder, tmp_path / "to")


def test_cvat_for_video_is_refused_by_name(tmp_path):
    save(picture(), tmp_path / "source/a.jpg")
    write(tmp_path / "source/annotations.xml", "<annotations><track id='0'/></annotations>")
    with pytest.raises(SourceError, match=r"annotations\.xml: CVAT for video"):
        quietly("cvat", tmp_path / "source", tmp_path / "to")


def test_xml_that_swells_is_refused(tmp_path):
    save(picture(), tmp_path / "source/a.jpg")
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]><annotation><filename>&b;</filename></annotation>'
    write(tmp_path / "source/a.xml", bomb)
    with pytest.raises(SourceError, match=r"a\.xml: no XML that can be read"):
        quietly("pascal_voc", tmp_path / "source", tmp_path / "to")


@pytest.mark.parametrize("form", ["labelme", "cvat", "via"])
def test_circles_and_polygons_give_their_boxes_and_points_none(form, tmp_path):
    folder = tmp_path / "source"
    for name in ("a.jpg", "b.jpg"):
        save(picture(), folder / name)
    if form == "labelme":
        circle = {"label": "face", "shape_type": "circle", "points": [[20, 20], [20, 30]]}
        polygon = {"label": "face", "shape_type": "polygon", "points": [[1, 2], [9, 4], [5, 9]]}
        point = {"label": "face", "shape_type": "point", "points": [[3, 3]]}
        for name, shapes in {"a": [circle, polygon, point], "b": [point]}.items():
            table = {"imagePath": f"{name}.jpg", "shapes": shapes}
            write(folder / f"{name}.json", json.dumps(table))
    elif form == "cvat":
        circle = "<ellipse label='face' cx='20' cy='20' rx='10' ry='10'/>"
        polygon = "<polygon label='face' points='1,2;9,4;5,9'/>"
        point = "<points label='face' points='3,3'/><tag label='face'/>"
        images = "".join(
            f"<image name='{name}.jpg' width='64' height='48'>{shapes}</image>"
            for name, shapes in {"a": circle + polygon + point, "b": point}.items()
        )
        write(folder / "annotations.xml", f"<annotations>{images}</annotations>")
    else:
        shapes = [
            {"name": "circle", "cx": 20, "cy": 20, "r": 10},
            {"name": "polygon", "all_points_x": [1, 9, 5], "all_points_y": [2, 4, 9]},
        ]
        regions = [{"shape_attributes": s, "region_attributes": {}} for s in shapes]
        images = {n: {"filename": n, "regions": r} for n, r in [("a.jpg", regions), ("b.jpg", [])]}
        write(folder / "regions.json", json.dumps(images))
    to = tmp_path / "to"
    table = quietly(form, folder, to).table
    assert table[BOX].to_numpy().tolist() == [[10, 10, 30, 30], [1, 2, 9, 9]]
    listed = looks(to)
    assert "left out" in listed.pop("b.jpg")
    assert all("have no area: passed over" in reason for reason in listed.values())
    assert len(listed) == (form != "via")


def test_via_names_attributes_that_say_nothing(tmp_path):
    folder = source_of(tmp_path / "source", "via", FACES)
    path = folder / "via_project.json"
    path.write_text(path.read_text().replace('"type"', '"mood"').replace('"name": "a', '"x": "a'))
    with pytest.raises(SourceError, match=r"one\.jpg, region 1: attributes are mood, x; name that"):
        quietly("via", folder, tmp_path / "to")


def test_several_tables_of_coco_are_read_together(tmp_path):
    folder = tmp_path / "source"
    for at, part in enumerate(("train", "test")):
        source_of(folder / part, "coco", [(f"{at}.jpg", SIZE, [("face", part, ANNA)])])
        (folder / part / "annotations.json").rename(folder / part / "_annotations.coco.json")
    made = quietly("coco", folder, tmp_path / "to", allow=["names"])
    assert told(made.table) == {("0", "train"): [*ANNA], ("1", "test"): [*ANNA]}
