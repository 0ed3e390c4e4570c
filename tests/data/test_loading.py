"""A crop depends on seed, epoch and index alone; boxes go where the pixels go."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import NO_BOX, PARTY, face
from PIL import Image

from thesislib.data import loading
from thesislib.data.columns import UNKNOWN
from thesislib.data.images import PhotoError
from thesislib.data.loading import (
    MIN_VISIBLE,
    Crops,
    EpochBatches,
    PhotoStore,
    collate,
    list_photos,
    training_batches,
)
from thesislib.data.schema import read_dataset
from thesislib.data.transforms import Augmentation

STILL = Augmentation(crop_scale=(1.0, 1.0), flip=0.0, colour=0.0)


def crops_of(folder, size=64, augmentation=STILL, seed=0, short_side=80):
    data = read_dataset(folder)
    photos = list_photos(data, data.identities)
    store = PhotoStore(data, photos, short_side, progress=False)
    return Crops(photos, store, size, augmentation, seed)


@pytest.fixture
def folder(write_dataset):
    wide = {"width": 120, "height": 80}
    return write_dataset(
        [
            face("a.png", "anna", (10, 10, 40, 50), **wide),
            face("a.png", "boris", (70, 20, 110, 70), **wide),
            face("b.png", "", NO_BOX, width=80, height=100),
            face("c.png", "", (20, 30, 60, 80), width=80, height=100),
        ]
    )


def same(one, other):
    (image, target), (image2, target2) = one, other
    return (
        torch.equal(image, image2)
        and torch.equal(target["boxes"], target2["boxes"])
        and torch.equal(target["identities"], target2["identities"])
        and target["photo"] == target2["photo"]
    )


# Crops


def test_a_crop_is_the_same_whatever_was_drawn_before(folder):
    full = Augmentation((0.5, 1.2), 0.5, 0.3)
    crops = crops_of(folder, augmentation=full)
    first = {key: crops[key] for key in [(e, i) for e in range(3) for i in range(3)]}
    torch.manual_seed(77)
    torch.rand(13)
    again = crops_of(folder, augmentation=full)
    for key in reversed(first):
        assert same(again[key], first[key])


def test_another_seed_epoch_or_photo_gives_another_crop(folder):
    full = Augmentation((0.5, 1.2), 0.5, 0.3)
    crops, other = crops_of(folder, augmentation=full), crops_of(folder, augmentation=full, seed=1)
    for index in range(3):
        assert not same(crops[0, index], crops[1, index])
        assert not same(crops[0, index], other[0, index])


def test_a_crop_leaves_the_random_numbers_of_others_alone(folder):
    crops = crops_of(folder, augmentation=Augmentation())
    torch.manual_seed(5)
    wanted = torch.rand(4)
    torch.manual_seed(5)
    crops[0, 0]
    assert torch.equal(torch.rand(4), wanted)


def test_a_crop_has_the_asked_for_form(folder):
    crops = crops_of(folder, augmentation=Augmentation((0.5, 1.3)))
    for epoch in range(10):
        for index in range(3):
            image, target = crops[epoch, index]
            assert image.shape == (3, 64, 64) and image.dtype == torch.uint8
            assert type(image) is torch.Tensor and type(target["boxes"]) is torch.Tensor
            assert target["boxes"].dtype == torch.float32
            assert target["identities"].dtype == torch.int64
            x1, y1, x2, y2 = target["boxes"].unbind(1)
            assert ((x1 >= 0) & (x1 < x2) & (x2 <= 64) & (y1 >= 0) & (y1 < y2) & (y2 <= 64)).all()
            assert len(target["boxes"]) == len(target["identities"])


def test_a_photo_without_faces_gives_a_target_without_faces(folder):
    _, target = crops_of(folder)[0, 1]
    assert target["boxes"].shape == (0, 4) and target["identities"].shape == (0,)
    assert target["photo"] == "b.png"


@pytest.mark.parametrize("short_side", [96, 48])
def test_boxes_go_where_the_pixels_go(tmp_path, short_side):
    # A white face on black, in a photo larger than it is stored: what the crop shows white is
    # what its box says.
    width, height, box = 160, 96, (100, 30, 132, 70)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    header = "photo,identity,session,width,height,x1,y1,x2,y2\n"
    (tmp_path / "annotations.csv").write_text(
        f"{header}a.png,anna,,{width},{height},{','.join(map(str, box))}\n"
    )
    sides = []
    for augmentation in (STILL, Augmentation((0.6, 1.4), 0.5, 0.0)):
        crops = crops_of(tmp_path, 128, augmentation, short_side=short_side)
        for epoch in range(15):
            image, target = crops[epoch, 0]
            if not len(target["boxes"]):
                continue
            ys, xs = torch.nonzero(image[0] > 190, as_tuple=True)
            seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert target["boxes"][0].tolist() == pytest.approx([float(v) for v in seen], abs=3)
            sides.append(float(target["boxes"][0, 2] - target["boxes"][0, 0]))
    assert len(sides) > 20 and max(sides) > 1.5 * min(sides)


def test_a_face_mostly_outside_the_crop_is_not_asked_for(folder):
    crops = crops_of(folder, size=80)
    cut_off = 0
    for epoch in range(60):
        image, target = crops[epoch, 0]
        left = next(
            at for at in range(41) if torch.equal(image, crops.store[0][:, :, at : at + 80])
        )
        wanted, who = [], []
        for person, (x1, y1, x2, y2) in enumerate([(10, 10, 40, 50), (70, 20, 110, 70)]):
            shown1, shown2 = max(x1 - left, 0), min(x2 - left, 80)
            if shown2 - shown1 >= MIN_VISIBLE * (x2 - x1):
                wanted.append([shown1, y1, shown2, y2])
                who.append(person)
            cut_off += shown1 != x1 - left or shown2 != x2 - left
        assert target["boxes"].tolist() == wanted and target["identities"].tolist() == who
    assert cut_off > 20


def test_a_flip_mirrors_boxes_and_pixels(folder):
    plain = crops_of(folder, size=80)
    mirrored = crops_of(folder, size=80, augmentation=Augmentation((1.0, 1.0), 1.0, 0.0))
    image, target = plain[0, 2]
    flipped, flipped_target = mirrored[0, 2]
    assert torch.equal(flipped, image.flip(2))
    for (x1, y1, x2, y2), box in zip(
        target["boxes"].tolist(), flipped_target["boxes"].tolist(), strict=True
    ):
        assert box == [80 - x2, y1, 80 - x1, y2]
    assert len(target["boxes"]) == 1


# Photos


def test_photos_are_listed_once_with_people_numbered(folder):
    a, b, c = list_photos(read_dataset(folder), ["boris"])
    assert (a.name, b.name, c.name) == ("a.png", "b.png", "c.png")
    assert a.identities.tolist() == [UNKNOWN, 0] and c.identities.tolist() == [UNKNOWN]
    assert a.boxes.tolist() == [[10, 10, 40, 50], [70, 20, 110, 70]]
    assert b.boxes.shape == (0, 4) and b.identities.dtype == torch.int64
    assert [photo.size for photo in (a, b, c)] == [(120, 80), (80, 100), (80, 100)]


def test_a_party_is_listed_with_everybody_in_it(party):
    data = read_dataset(party)
    photos = list_photos(data, data.identities)
    rows = data.table[data.table["x1"].notna()]
    assert [photo.name for photo in photos] == data.photos
    for photo in photos:
        faces = rows[rows["photo"] == photo.name]
        wanted = [PARTY.index(name) if name else UNKNOWN for name in faces["identity"]]
        assert photo.identities.tolist() == wanted
        assert photo.boxes.tolist() == faces[["x1", "y1", "x2", "y2"]].to_numpy().tolist()
    counts = Counter(len(photo.boxes) for photo in photos)
    assert counts == {0: 1, 1: 6, 2: 5, 3: 2}
    assert photos[-1].identities.tolist() == [UNKNOWN, UNKNOWN]


def test_batches_of_a_party_hold_photos_with_and_without_faces(party):
    crops = crops_of(party, size=72, short_side=72)
    sampler = EpochBatches(photos=14, batch=7, epochs=3, seed=0)
    seen = Counter()
    for photos, targets in training_batches(crops, sampler):
        assert photos.shape == (7, 3, 72, 72)
        for target in targets:
            assert target["boxes"].shape == (len(target["identities"]), 4)
            seen.update(target["identities"].tolist())
            seen["empty"] += not len(target["boxes"])
    assert seen["empty"] >= 3 and min(seen[index] for index in (UNKNOWN, 0, 1, 2)) > 3


def test_stored_photos_are_scaled_the_same_kept_or_not(folder, monkeypatch):
    data = read_dataset(folder)
    photos = list_photos(data, data.identities)
    kept = PhotoStore(data, photos, 40, progress=False)
    monkeypatch.setattr(loading, "CACHE_BYTES", 0)
    decoded = PhotoStore(data, photos, 40, progress=False)
    assert kept.cached and not decoded.cached and len(kept) == len(decoded) == 3
    assert [tuple(kept[at].shape) for at in range(3)] == [(3, 40, 60), (3, 50, 40), (3, 50, 40)]
    assert all(torch.equal(kept[at], decoded[at]) for at in range(3))


def test_a_photo_gone_bad_is_named(folder):
    data = read_dataset(folder)
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"b\.png: photo is empty"):
        PhotoStore(data, list_photos(data, []), 40, progress=False)


# Order


def test_every_photo_comes_once_an_epoch_in_an_order_of_its_own():
    batches = list(EpochBatches(photos=24, batch=6, epochs=3, seed=0))
    assert [len(batch) for batch in batches] == [6] * 12
    orders = []
    for epoch in range(3):
        keys = [key for batch in batches[4 * epoch : 4 * epoch + 4] for key in batch]
        assert {e for e, _ in keys} == {epoch}
        orders.append([index for _, index in keys])
        assert sorted(orders[-1]) == list(range(24))
    assert orders[0] != orders[1] != orders[2] and orders[0] != list(range(24))
    assert batches != list(EpochBatches(24, 6, 3, seed=1))


def test_what_is_left_of_an_epoch_is_dropped_and_a_batch_is_at_most_all_photos():
    assert [len(set(b)) for b in EpochBatches(photos=11, batch=4, epochs=2, seed=0)] == [4] * 4
    assert [len(set(b)) for b in EpochBatches(photos=3, batch=8, epochs=2, seed=0)] == [3] * 2


@pytest.mark.parametrize("step", range(10))
def test_a_run_that_begins_at_a_step_gets_the_batches_from_there_on(step):
    whole = list(EpochBatches(photos=11, batch=4, epochs=5, seed=2))
    rest = EpochBatches(photos=11, batch=4, epochs=5, seed=2, first_step=step)
    assert len(rest) == 10 - step
    assert list(rest) == whole[step:]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_each_global_batch(processes):
    whole = list(EpochBatches(photos=20, batch=6, epochs=2, seed=0))
    shards = [
        list(EpochBatches(20, 6, 2, seed=0, process=at, processes=processes))
        for at in range(processes)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert Counter(key for part in parts for key in part) == Counter(batch)
        assert {len(part) for part in parts} == {6 // processes}


@pytest.mark.parametrize("workers", [0, 1])
def test_training_batches_come_in_the_samplers_order(folder, workers):
    crops = crops_of(folder, augmentation=Augmentation())
    sampler = EpochBatches(photos=3, batch=2, epochs=3, seed=0)
    batches = list(training_batches(crops, sampler, workers))
    assert len(batches) == 3
    for keys, (photos, targets) in zip(sampler, batches, strict=True):
        wanted_photos, wanted = collate([crops[key] for key in keys])
        assert photos.shape == (2, 3, 64, 64) and torch.equal(photos, wanted_photos)
        assert [t["photo"] for t in targets] == [t["photo"] for t in wanted]
        for target, one in zip(targets, wanted, strict=True):
            assert torch.equal(target["boxes"], one["boxes"])


def test_the_next_batch_is_made_while_the_one_before_is_in_use():
    made = []

    def batches():
        for at in range(3):
            made.append(threading.current_thread())
            yield at

    ahead = loading._one_ahead(batches())
    assert next(ahead) == 0
    end = time.monotonic() + 10
    while len(made) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(made) == 2
    assert threading.main_thread() not in made
    assert list(ahead) == [1, 2]


def test_an_error_in_making_a_batch_comes_out_where_it_is_taken():
    def batches():
        yield 0
        raise PhotoError("a.png: photo is missing")

    ahead = loading._one_ahead(batches())
    assert next(ahead) == 0
    with pytest.raises(PhotoError, match=r"a\.png"):
        next(ahead)
