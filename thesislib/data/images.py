"""Reading photos: whatever a camera or a scanner wrote becomes uint8 RGB, or a clear error.

Needs NumPy and Pillow alone.
"""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

# A 100-megapixel photo decodes to 300 MB; beyond that a file is a mistake or a bomb.
MAX_PIXELS = 100_000_000
MAX_ASPECT = 50  # longer side over shorter; scaled to a net's input, a strip would not fit memory
# Endings, in lower case, of the files in a folder that are taken for photos: what Pillow reads of
# cameras, phones and scanners, and HEIC with an extra.
HEIC_SUFFIXES = {".heic", ".heif", ".hif"}
PHOTO_SUFFIXES = HEIC_SUFFIXES | {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".ppm", ".pgm", ".pbm", ".pnm"),
}

# How pictures end that are drawn beside photos: they are no photos of anybody.
DRAWN = ".recognised.jpg"

PHOTO_FORMS = (str, Path, np.ndarray, Image.Image)  # what is one photo, or its file

_EXIF_ORIENTATION, _XMP_TAG = 0x0112, 700
# By EXIF orientation, what makes the photo upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPS_SIDES = {5, 6, 7, 8}  # of them those that turn the photo by 90 degrees
# Bits of a grey value that cameras and scanners give; files have 16 or 32 for it.
_DEPTHS = (8, 10, 12, 14, 16)
# Pillow raises whatever the damage leads to, by format and place; none of it is to end more than
# the reading of this photo.
_DAMAGE = Exception


class PhotoError(ValueError):
    """A photo that cannot be read; the message names the file."""


def photo_orientation(path: Path | str) -> int:
    """EXIF orientation of a photo's file, 1 to 8; 1, as it is stored, where there is none.

    Raises:
        PhotoError: see :func:`photo_size`.
    """
    with _opened(Path(path)) as image:
        # A HEIC photo is turned as it is opened.
        turned = image.info.get("original_orientation")
        return turned if turned in _UPRIGHT else _orientation(image)


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
            if isinstance(image, PngImagePlugin.PngImageFile):
                image.load()
        except _DAMAGE as error:
            raise PhotoError(f"{path}: damaged image ({error})") from None
        return (height, width) if _orientation(image) in SWAPS_SIDES else (width, height)


def photo_xmp(path: Path | str) -> bytes:
    """XMP packet in a photo's file, XML; empty where there is none.

    Raises:
        PhotoError: see :func:`photo_size`.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            if isinstance(image, PngImagePlugin.PngImageFile):
                image.load()  # it may come last
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                packet = image.tag_v2.get(_XMP_TAG, b"")
            else:
                packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", b"")
            return packet.encode() if isinstance(packet, str) else bytes(packet)
        except _DAMAGE as error:
            raise PhotoError(f"{path}: damaged image ({error})") from None


def read_photo(
    path: Path | str, short_side: int | None = None, notes: list[str] | None = None
) -> np.ndarray:
    """Decode a photo upright.

    Grey, palette, RGBA (over white), CMYK and deep grey photos are converted; of several pictures
    in a file it is the first. EXIF orientation is applied; of EXIF data that cannot be read
    nothing is.

    Args:
        path: an image file.
        short_side: scale down (never up) to this many pixels on the shorter side; None keeps
            the photo's own size.
        notes: to which is added, in words, what had to be guessed: which value of a deep grey
            photo is white.

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
            is_deep = any(";16" in str(tile[3]) for tile in file.tile)
            file.load()
            if is_deep and not file.mode.startswith("I"):
                _check_depth(path, file)
            image = _upright(_to_rgb(file, notes), _orientation(file))
        except PhotoError:
            raise
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
            return np.array(_upright(_to_rgb(photo), _orientation(photo)))
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
    with _file(path) as file:
        try:
            image = _identified(file, str(path))
        except _DAMAGE as error:
            raise PhotoError(f"{path}: damaged image ({error})") from None
        if image is None and path.suffix.lower() in HEIC_SUFFIXES and not _has_heic():
            raise PhotoError(f"{path}: HEIC photos need pip install 'thesislib[heic]'")
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


def _file(path: Path) -> IO[bytes]:
    """An open file that has something in it."""
    try:
        if not path.is_file():
            raise PhotoError(f"{path}: photo is missing")
        if path.stat().st_size == 0:
            raise PhotoError(f"{path}: photo is empty (0 bytes)")
        return open(path, "rb")
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from None


def _identified(file: IO[bytes], name: str) -> ImageFile.ImageFile | None:
    """As ``Image.open``, but None for what is no image, and without its check of the size.

    That check has one limit for the whole process, which is not this module's to move, and warns
    of photos that are read here.
    """
    start = file.read(16)
    for load_formats in (Image.preinit, Image.init, _init_heic):  # the common ones, then all
        load_formats()
        for kind in Image.ID:
            create, accepts = Image.OPEN[kind]
            # For Image.open, too, an error is the sign of another format.
            with contextlib.suppress(_DAMAGE):
                if accepts is None or accepts(start) is True:
                    file.seek(0)
                    return create(file, name)
    return None


def _has_heic() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def _init_heic() -> None:
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1, as it is stored, where there is none that can be read."""
    try:
        found = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE:  # of what is beside the pixels, which are fine
        return 1
    return found if isinstance(found, int) and found in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _check_depth(path: Path, image: Image.Image) -> None:
    """Refuse colours of 16 bits that Pillow, which keeps the upper 8, does not read rightly.

    Raises:
        PhotoError: colours of a camera of 12 or 14 bits, in planes, or of ink.
    """
    is_planar = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(284) == 2
    if is_planar or image.mode == "CMYK":
        raise PhotoError(f"{path}: colours of 16 bits in planes, or of ink; save it with 8")
    colours = image.convert("RGB") if image.mode != "LA" else image.getchannel("L")
    if np.asarray(colours).max(initial=0) < 2**6:
        raise PhotoError(
            f"{path}: its colours use the lower of 16 bits, as those of a camera of 12 or 14; save "
            "it with 8"
        )


def _eight_bits(image: Image.Image, notes: list[str] | None) -> Image.Image:
    """Grey of 16 or 32 bits or floats, whose white is told from the largest value."""
    values = np.asarray(image, dtype=np.float64)
    most = float(values.max(initial=0))
    if not np.isfinite(values).all():
        raise ValueError("values that are no numbers")
    if values.min(initial=0) < 0:
        raise ValueError(f"grey values from {values.min():g}, of which none is known to be black")
    if image.mode == "F" and most <= 2:  # with a little over 1, as after scaling
        white, told = 1.0, "floats of 0 to 1"
    else:
        depth = next((bits for bits in _DEPTHS if most < 2**bits), None)
        if depth is None:
            raise ValueError(f"grey values up to {most:g}, of which none is known to be white")
        white, told = 2.0**depth - 1, f"{depth} bits of grey"
    if notes is not None and told != "16 bits of grey":
        notes.append(f"read as {told}, its largest value being {most:g}")
    grey = np.clip(values * 255 / white, 0, 255).round().astype(np.uint8)
    is_negative = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
    return Image.fromarray(255 - grey if is_negative else grey)


def _to_rgb(image: Image.Image, notes: list[str] | None = None) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, notes)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
