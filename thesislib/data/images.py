"""Reading photos: whatever a camera or a scanner wrote becomes uint8 RGB, or a clear error.

Needs NumPy and Pillow alone.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

# A 100-megapixel photo decodes to 300 MB; beyond that a file is a mistake or a bomb.
MAX_PIXELS = 100_000_000
MAX_ASPECT = 50  # longer side over shorter; scaled to a net's input, a strip would not fit memory
# Endings, in lower case, of the files in a folder that are taken for photos.
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}

PHOTO_FORMS = (str, Path, np.ndarray, Image.Image)  # what is one photo, or its file

_SWAPS_SIDES = {5, 6, 7, 8}  # EXIF orientations that turn the photo by 90 degrees
_EXIF_ORIENTATION = 0x0112
# What Pillow raises on a file that is damaged, by format and by place of the damage.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    struct.error,
    Image.DecompressionBombError,
)


class PhotoError(ValueError):
    """A photo that cannot be read; the message names the file."""


def photo_size(path: Path | str) -> tuple[int, int]:
    """Width and height in pixels as seen upright (EXIF applied), from the file's header.

    A PNG is decoded, too, as its EXIF data may come last.

    Raises:
        PhotoError: the file is missing, empty, damaged, no image, larger than ``MAX_PIXELS``, or
            longer than ``MAX_ASPECT`` allows.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            width, height = image.size
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Whose size Pillow gives upright already, or not, by version.
                width, height = image.tag_v2[256], image.tag_v2[257]
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        except _DAMAGE as error:
            raise PhotoError(f"{path}: damaged image ({error})") from None
    return (height, width) if orientation in _SWAPS_SIDES else (width, height)


def read_photo(path: Path | str, short_side: int | None = None) -> np.ndarray:
    """Decode a photo upright.

    Grey, palette, RGBA (over white), CMYK and 16-bit photos are converted; EXIF orientation is
    applied.

    Args:
        path: an image file.
        short_side: scale down (never up) to this many pixels on the shorter side; None keeps
            the photo's own size.

    Returns:
        uint8 array [H, W, 3], RGB.

    Raises:
        PhotoError: missing, empty, truncated, no image, larger than ``MAX_PIXELS``, or longer
            than ``MAX_ASPECT`` allows.
    """
    path = Path(path)
    with _opened(path) as file:
        try:
            if short_side is not None:
                # JPEG can be decoded at 1/2, 1/4, 1/8; twice the target keeps the resize clean.
                file.draft("RGB", (2 * short_side, 2 * short_side))
            file.load()
            image = _to_rgb(ImageOps.exif_transpose(file))
        except _DAMAGE as error:
            raise PhotoError(f"{path}: photo is truncated or damaged ({error})") from None
    if short_side is not None and min(image.size) > short_side:
        scale = short_side / min(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.array(image)


def open_photo(photo: str | Path | np.ndarray | Image.Image) -> np.ndarray:
    """A photo in any form: a file as :func:`read_photo` reads it, or as :func:`as_photo` takes it.

    Returns:
        uint8 array [H, W, 3], RGB.

    Raises:
        PhotoError, TypeError, ValueError: see there.
    """
    return read_photo(photo) if isinstance(photo, str | Path) else as_photo(photo)


def check_form(photo: object) -> None:
    """Refuse what is a photo in none of its forms.

    Raises:
        TypeError: neither a path, nor an array, nor a PIL image.
    """
    if not isinstance(photo, PHOTO_FORMS):
        raise TypeError(f"expected a path, an array or a PIL image, got {type(photo).__name__}")


def as_photo(photo: np.ndarray | Image.Image) -> np.ndarray:
    """Any array or PIL image that is plainly a photo as uint8 [H, W, 3], which may be written to.

    Args:
        photo: array [H, W], [H, W, 1] or [H, W, 3]; uint8, uint16 (0..65535) or float (0..1). Or a
            PIL image of any mode, turned upright as its EXIF says.

    Raises:
        ValueError: another array, named.
        PhotoError: a PIL image whose file is damaged.
        TypeError: anything else.
    """
    check_form(photo)
    if isinstance(photo, Image.Image):
        try:
            return np.array(_to_rgb(ImageOps.exif_transpose(photo)))
        except _DAMAGE as error:
            name = getattr(photo, "filename", "") or "PIL image"
            raise PhotoError(f"{name}: photo is truncated or damaged ({error})") from None
    photo = np.asarray(photo)
    if photo.ndim == 2:
        photo = photo[:, :, None]
    if photo.ndim != 3 or photo.shape[2] not in (1, 3) or 0 in photo.shape:
        raise ValueError(
            f"photo of shape {photo.shape}: expected [H, W], [H, W, 1] or [H, W, 3], none of it 0"
        )
    if photo.dtype == np.uint16:
        photo = np.round(photo / 257.0).astype(np.uint8)
    elif np.issubdtype(photo.dtype, np.floating):
        # Also false where something is not a number.
        if not (photo.min() >= 0 and photo.max() <= 1):
            raise ValueError(
                f"photo of {photo.dtype} with values {photo.min():.3g} to {photo.max():.3g}: "
                "floats must be in 0..1"
            )
        photo = np.round(255.0 * photo).astype(np.uint8)
    elif photo.dtype != np.uint8:
        raise ValueError(f"photo of {photo.dtype}: expected uint8, uint16 or float")
    if photo.shape[2] == 1:
        photo = np.repeat(photo, 3, axis=2)
    # PyTorch warns of arrays that cannot be written to, such as np.asarray gives of a PIL image.
    return np.require(photo, requirements=["C", "W"])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A photo's header, read and checked, with the file open for its pixels."""
    if not path.is_file():
        raise PhotoError(f"{path}: photo is missing")
    if path.stat().st_size == 0:
        raise PhotoError(f"{path}: photo is empty (0 bytes)")
    with open(path, "rb") as file:
        try:
            image = _identified(file, str(path))
        except _DAMAGE as error:
            raise PhotoError(f"{path}: damaged image ({error})") from None
        if image is None:
            raise PhotoError(f"{path}: not an image that can be read")
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise PhotoError(
                    f"{path}: {width} x {height} pixels are more than the {MAX_PIXELS:,} that are "
                    "read; scale it down first"
                )
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise PhotoError(
                    f"{path}: {width} x {height} pixels: more than {MAX_ASPECT} times as long as "
                    "wide; cut it first"
                )
            yield image


def _identified(file: IO[bytes], name: str) -> ImageFile.ImageFile | None:
    """As ``Image.open``, but None for what is no image, and without its check of the size.

    That check has one limit for the whole process, which is not this module's to move, and warns
    of photos that are read here.
    """
    start = file.read(16)
    for load_formats in (Image.preinit, Image.init):  # the common ones, then all
        load_formats()
        for kind in Image.ID:
            create, accepts = Image.OPEN[kind]
            # These are for Image.open, too, the sign of another format.
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                if accepts is None or accepts(start) is True:
                    file.seek(0)
                    return create(file, name)
    return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        # 16-bit grey fills 0..65535; 32-bit and float files hold 0..255 as often as not.
        sixteen = image.mode.startswith("I;16") or values.max(initial=0) > 255
        scale = 257.0 if sixteen else 1.0
        image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
