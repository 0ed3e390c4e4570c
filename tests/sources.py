"""Sources made for tests of importers, and what an import of them left."""

import numpy as np
import pandas as pd
from PIL import Image

from thesislib.data.importers import import_photos
from thesislib.data.importers.target import LOOK_OVER


def picture(seed=0, width=64, height=48):
    """Soft colours without a face."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def people(folder, **photos):
    """A folder with so many photos of each person, no two alike."""
    for person, count in photos.items():
        for at in range(count):
            seed = int.from_bytes(person.encode()) % 100_000 + at
            save(picture(seed), folder / person / f"{at}.jpg")
    return folder


def quietly(source, folder, to, **options):
    return import_photos(source, folder, to, progress=False, **options)


def looks(to):
    table = pd.read_csv(to / LOOK_OVER, dtype=str, keep_default_na=False)
    return dict(zip(table["photo"], table["reason"], strict=True))


def files_of(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


def found_everywhere(photo, upsampling):
    """In place of dlib: one face in the middle of every photo."""
    height, width = photo.shape[:2]
    return np.array([[1, 1, width - 1, height - 1]], np.float32), np.ones(1, np.float32)
