"""Reading photos: whatever a camera or a scanner wrote becomes uint8 RGB, or a clear error."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def as_photo(photo: np.ndarray) -> np.ndarray:
    """Any array that is plainly a photo as uint8 [H, W, 3].

    Args:
        photo: [H, W], [H, W, 1] or [H, W, 3]; uint8, uint16 (0..65535) or float (0..1).

    Raises:
        ValueError: anything else, named.
    """
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
    return np.ascontiguousarray(photo)


# A 100-megapixel photo decodes to 300 MB; beyond that a file is a mistake or a bomb.
MAX_PIXELS = 100_000_000
# The limit is checked here, before decoding and by file name, so Pillow's own is not needed.
Image.MAX_IMAGE_PIXELS = None

_SWAPS_SIDES = {5, 6, 7, 8}  # EXIF orientations that turn the photo by 90 degrees
_EXIF_ORIENTATION = 0x0112


class PhotoError(ValueError):
    """A photo that cannot be read; the message names the file."""


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise PhotoError(f"{path}: photo is missing")
    if path.stat().st_size == 0:
        raise PhotoError(f"{path}: photo is empty (0 bytes)")
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        raise PhotoError(f"{path}: not an image that can be read") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{path}: damaged image ({error})") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise PhotoError(
            f"{path}: {width} x {height} pixels are more than the {MAX_PIXELS:,} that are read; "
            "scale it down first"
        )
    return image


def photo_size(path: Path | str) -> tuple[int, int]:
    """Width and height in pixels as seen upright (EXIF applied), from the file's header alone.

    Raises:
        PhotoError: the file is missing, empty, no image, or larger than ``MAX_PIXELS``.
    """
    with _open(Path(path)) as image:
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow gives upright already, or not, by version
            width, height = image.tag_v2[256], image.tag_v2[257]
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
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
        PhotoError: missing, empty, truncated, no image, or larger than ``MAX_PIXELS``.
    """
    path = Path(path)
    with _open(path) as image:
        try:
            if short_side is not None:
                # JPEG can be decoded at 1/2, 1/4, 1/8; twice the target keeps the resize clean.
                image.draft("RGB", (2 * short_side, 2 * short_side))
            image.load()
            image = ImageOps.exif_transpose(image)
            image = _to_rgb(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise PhotoError(f"{path}: photo is truncated or damaged ({error})") from None
    if short_side is not None and min(image.size) > short_side:
        scale = short_side / min(image.size)
        size = tuple(max(1, round(side * scale)) for side in image.size)
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.array(image)


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
