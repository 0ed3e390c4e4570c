"""Whatever a camera or a scanner writes is read upright as RGB, or refused by name."""

import importlib.util
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from conftest import noise
from exif import STORED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thesislib.data import images
from thesislib.data.images import PhotoError, as_photo, open_photo, photo_size, read_photo

ORIENTATION = 0x0112
READERS = pytest.mark.parametrize("read", [photo_size, read_photo])


def saved(path, array, **options):
    Image.fromarray(np.ascontiguousarray(array)).save(path, **options)
    return path


def gradient(height=40, width=60):
    """A photo that JPEG keeps nearly as it is, and that no turn or mirror image equals."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 5 * y, x + y], axis=-1).astype(np.uint8)


def png_of_claimed_size(path, width, height):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


# Refused


def refusal(read, path):
    with pytest.raises(PhotoError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@READERS
def test_a_missing_photo_is_refused(read, tmp_path):
    assert refusal(read, tmp_path / "none.jpg") == "photo is missing"
    assert refusal(read, tmp_path) == "photo is missing"


@READERS
def test_an_empty_file_is_refused(read, tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    assert refusal(read, path) == "photo is empty (0 bytes)"


@READERS
def test_what_is_not_an_image_is_refused(read, tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("not a photo")
    assert refusal(read, path) == "not an image that can be read"


@READERS
def test_a_header_cut_short_is_refused(read, tmp_path):
    path = saved(tmp_path / "a.jpg", gradient())
    path.write_bytes(path.read_bytes()[:30])
    assert "not an image" in refusal(read, path) or "damaged" in refusal(read, path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("short_side", [None, 10])
def test_a_truncated_photo_is_refused(tmp_path, suffix, short_side):
    path = saved(tmp_path / f"a.{suffix}", noise(80, 120))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(lambda one: read_photo(one, short_side), path)
    assert "truncated" in message or "damaged" in message or "not an image" in message


@READERS
def test_a_small_file_that_claims_a_huge_photo_is_refused_before_it_is_decoded(read, tmp_path):
    path = png_of_claimed_size(tmp_path / "bomb.png", 50_000, 50_000)
    assert path.stat().st_size < 200
    message = refusal(read, path)
    assert "50000 x 50000" in message and "100,000,000" in message


@pytest.fixture
def strict_pillow(monkeypatch):
    """Pillow's guard as another library in the process may have set it: 100 pixels at most."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


@pytest.mark.filterwarnings("error")
def test_pillows_guard_neither_warns_nor_refuses_below_our_limit(tmp_path, strict_pillow):
    for width in (15, 30):  # 150 pixels make it warn, 600 refuse
        path = saved(tmp_path / f"{width}.png", noise(10 if width == 15 else 20, width))
        assert photo_size(path) == (width, 10 if width == 15 else 20)
        assert read_photo(path).shape[1] == width
    path = saved(tmp_path / "large.bmp", noise(20, 30))
    header = bytearray(path.read_bytes())
    header[18:26] = struct.pack("<ii", 9_900, 10_000)
    path.write_bytes(header)
    assert photo_size(path) == (9_900, 10_000)


def test_pillows_guard_stays_as_it_was_for_others(tmp_path, strict_pillow):
    read_photo(saved(tmp_path / "a.png", noise(20, 30)))
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")


def test_importing_leaves_pillows_guard_alone():
    code = (
        "from PIL import Image; before = Image.MAX_IMAGE_PIXELS\n"
        "import thesislib.data.images\n"
        "assert before and Image.MAX_IMAGE_PIXELS == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("loaded", ["torch", "pandas"])
def test_reading_photos_needs_neither_torch_nor_pandas(loaded):
    code = f"import sys, thesislib.data.images; assert {loaded!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@READERS
def test_a_png_cut_short_is_named(read, tmp_path):
    path = saved(tmp_path / "a.png", noise(80, 120))
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated" in refusal(read, path)


@READERS
@pytest.mark.parametrize("content", [b"x", b"\xff", b"RIFF", b"II*", b"BM", b"GIF8", b"P6\n"])
def test_a_few_bytes_are_no_photo(read, tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    message = refusal(read, path)
    assert "not an image" in message or "damaged" in message


def test_the_limit_itself_is_still_read(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", noise(20, 30))
    monkeypatch.setattr(images, "MAX_PIXELS", 600)
    assert read_photo(path).shape == (20, 30, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 599)
    assert "30 x 20" in refusal(photo_size, path)


def test_a_strip_is_no_photo(tmp_path):
    assert read_photo(saved(tmp_path / "a.png", noise(2, 100))).shape == (2, 100, 3)
    path = saved(tmp_path / "b.png", noise(101, 2))
    for read in (photo_size, read_photo):
        assert "2 x 101 pixels: more than 50 times as long as wide" in refusal(read, path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of the damage, before it is an error
def test_damage_anywhere_is_told_as_a_photo_error(tmp_path):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    refused = 0
    for suffix in ("jpg", "png", "webp"):
        path = saved(tmp_path / f"a.{suffix}", noise(16, 24), exif=exif)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            broken = whole[: rng.integers(1, len(whole) + 1)].copy()
            broken[rng.integers(0, min(len(broken), 300), 2)] = rng.integers(0, 256, 2)
            path.write_bytes(broken.tobytes())
            for read in (photo_size, read_photo):
                try:
                    read(path)
                except PhotoError as error:
                    assert str(path) in str(error)
                    refused += 1
    assert refused > 100


# Converted


def test_rgb_is_read_as_it_is(tmp_path):
    array = noise(20, 30)
    read = read_photo(saved(tmp_path / "a.png", array))
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_grey_is_read_as_three_equal_channels(tmp_path):
    grey = noise(20, 30)[..., 0]
    read = read_photo(saved(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(read, np.stack([grey] * 3, axis=-1))


def test_transparency_is_read_over_white(tmp_path):
    colour, alpha = noise(20, 30), noise(20, 30, seed=1)[..., :1]
    alpha[0, 0], alpha[0, 1] = 0, 255
    read = read_photo(saved(tmp_path / "a.png", np.concatenate([colour, alpha], axis=-1)))
    share = alpha / 255.0
    np.testing.assert_allclose(read, colour * share + 255 * (1 - share), atol=1.0)
    assert read[0, 0].tolist() == [255, 255, 255]
    assert read[0, 1].tolist() == colour[0, 1].tolist()


def test_grey_with_transparency_is_read_over_white(tmp_path):
    both = np.array([[[10, 255], [10, 0]]], np.uint8)
    read = read_photo(saved(tmp_path / "a.png", both))
    assert read.tolist() == [[[10, 10, 10], [255, 255, 255]]]


def test_a_palette_with_a_transparent_colour_is_read_over_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=1)
    read = read_photo(tmp_path / "a.png")
    assert read.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_a_palette_is_read_in_its_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([250, 120, 3, 9, 8, 7])
    image.save(tmp_path / "a.gif")
    assert read_photo(tmp_path / "a.gif").tolist() == [[[250, 120, 3], [9, 8, 7]]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("short_side", [None, 20])
def test_cmyk_is_read_in_its_colours(tmp_path, suffix, short_side):
    # Ink: none is white, cyan takes away red, all black is black.
    ink = np.zeros((60, 90, 4), np.uint8)
    ink[:, 30:60, 0] = 255
    ink[:, 60:, 3] = 255
    image = Image.fromarray(ink, mode="CMYK")
    image.save(tmp_path / f"a.{suffix}")
    read = read_photo(tmp_path / f"a.{suffix}", short_side)
    columns = read.shape[1]
    seen = read[read.shape[0] // 2, [columns // 6, columns // 2, -columns // 6]]
    np.testing.assert_allclose(seen, [[255] * 3, [0, 255, 255], [0] * 3], atol=6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_read_to_the_same_brightness(tmp_path, suffix):
    deep = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    read = read_photo(saved(tmp_path / f"a.{suffix}", deep))
    assert read[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    ("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)]
)
def test_white_of_deep_grey_is_told_from_its_largest_value(tmp_path, bits, dtype, suffix):
    white = 2**bits - 1
    deep = np.array([[0, white // 2, white]], dtype)
    notes: list[str] = []
    read = read_photo(saved(tmp_path / f"a.{suffix}", deep), notes=notes)
    np.testing.assert_allclose(read[0, :, 0], [0, 127.5, 255], atol=1)
    guessed = (
        [] if bits == 16 else [f"read as {bits} bits of grey, its largest value being {white}"]
    )
    assert notes == guessed


def test_floats_of_0_to_1_are_read_in_their_brightness(tmp_path):
    notes: list[str] = []
    path = saved(tmp_path / "a.tif", np.array([[0, 0.5, 1]], np.float32))
    assert read_photo(path, notes=notes)[0, :, 2].tolist() == [0, 128, 255]
    assert notes == ["read as floats of 0 to 1, its largest value being 1"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e6])
def test_values_of_which_none_is_known_to_be_white_are_refused(tmp_path, wrong):
    path = saved(tmp_path / "a.tif", np.array([[0, wrong]], np.float32))
    assert "values" in refusal(read_photo, path)


def test_float_grey_of_0_to_255_is_read_as_it_is(tmp_path):
    read = read_photo(saved(tmp_path / "a.tif", np.array([[0, 7, 255]], np.float32)))
    assert read[0, :, 1].tolist() == [0, 7, 255]


# Upright


@pytest.mark.parametrize("orientation", STORED)
def test_an_exif_rotated_photo_is_read_upright(tmp_path, orientation):
    upright = noise(20, 30)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path / "a.png", STORED[orientation](upright), exif=exif)
    np.testing.assert_array_equal(read_photo(path), upright)
    assert photo_size(path) == (30, 20)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("short_side", [None, 15])
def test_an_exif_rotated_jpeg_is_read_upright(tmp_path, orientation, short_side):
    upright = gradient()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(
        tmp_path / "a.jpg", STORED[orientation](upright), exif=exif, quality=95, subsampling=0
    )
    read = read_photo(path, short_side)
    plain = read_photo(saved(tmp_path / "b.png", upright), short_side)
    np.testing.assert_allclose(read.astype(int), plain, atol=12)
    assert photo_size(path) == (60, 40)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photo_size_agrees_with_read_photo(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path / f"a.{suffix}", noise(20, 30), exif=exif)
    width, height = photo_size(path)
    assert read_photo(path).shape == (height, width, 3)


def jpeg_with_exif(path, block, upright):
    """A JPEG whose EXIF block is these bytes."""
    Image.fromarray(upright).save(path, quality=95, subsampling=0)
    data = path.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    path.write_bytes(data[:2] + segment + data[2:])
    return path


def exif_block(orientation=6):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F], exif[0x0132] = "a camera", "2024:05:06 07:08:09"
    exif[0x011A] = 72.0
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    return exif.tobytes()[6:]


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_orientations_that_there_are_not_leave_a_photo_as_it_is(tmp_path, orientation):
    path = jpeg_with_exif(tmp_path / "a.jpg", exif_block(orientation), gradient())
    assert read_photo(path).shape == (40, 60, 3) and photo_size(path) == (60, 40)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of the damage
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bad_exif_costs_a_photo_nothing(tmp_path_factory, data):
    block = bytearray(exif_block())
    places = st.lists(st.integers(0, len(block) - 1), max_size=8)
    for place in data.draw(places):
        block[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(block)))
    path = tmp_path_factory.mktemp("exif") / "a.jpg"
    jpeg_with_exif(path, bytes(block[:cut]), gradient())
    width, height = photo_size(path)
    read = read_photo(path)
    assert read.shape == (height, width, 3) and sorted(read.shape[:2]) == [40, 60]


@pytest.mark.parametrize("suffix", sorted(images.PHOTO_SUFFIXES - images.HEIC_SUFFIXES))
def test_every_ending_is_of_a_photo_that_is_read(tmp_path, suffix):
    kind = {".jpx": "JPEG2000", ".pbm": "PPM", ".apng": "PNG"}.get(suffix)
    array = noise(20, 30)
    saved(tmp_path / f"a{suffix}", array, **({"format": kind} if kind else {}))
    assert read_photo(tmp_path / f"a{suffix}").shape == array.shape
    assert photo_size(tmp_path / f"a{suffix}") == (30, 20)


def test_heic_is_read_or_names_what_it_needs(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    if importlib.util.find_spec("pillow_heif") is None:
        path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
        for read in (photo_size, read_photo):
            assert refusal(read, path) == "HEIC photos need pip install 'thesislib[heic]'"
        return
    import pillow_heif

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = np.ascontiguousarray(STORED[6](gradient()))
    pillow_heif.from_pillow(Image.fromarray(stored)).save(path, quality=95, exif=exif.tobytes())
    assert photo_size(path) == (60, 40)
    np.testing.assert_allclose(read_photo(path).astype(int), gradient(), atol=16)


def deep_png(path, array, kind=2):
    """A PNG of 16 bits a colour, which Pillow does not write."""
    height, width, _ = array.shape

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    text = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + text)
    return path


def test_colours_of_16_bits_are_read_and_of_fewer_refused_by_name(tmp_path):
    array = noise(20, 30).astype(np.uint16)
    path = deep_png(tmp_path / "a.png", array * 257)
    np.testing.assert_array_equal(read_photo(path), array)
    for bits in (12, 14):
        path = deep_png(tmp_path / f"{bits}.png", array << (bits - 8))
        assert refusal(read_photo, path).startswith("its colours use the lower of 16 bits")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_colours_of_fewer_bits_are_refused_too(tmp_path, mode):
    kind, channels = (6, 4) if mode == "RGBA" else (4, 2)
    array = np.full((20, 30, channels), 65535, np.uint16)
    array[..., :-1] = noise(20, 30)[..., : channels - 1].astype(np.uint16) << 4
    path = deep_png(tmp_path / "a.png", array, kind)
    assert refusal(read_photo, path).startswith("its colours use the lower of 16 bits")


def test_a_little_over_1_is_white_and_below_0_is_refused(tmp_path):
    values = np.linspace(0, 1.02, 600, dtype=np.float32).reshape(20, 30)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_photo(tmp_path / "a.tif")[19, 20:].min() > 250
    Image.fromarray(values - 1).save(tmp_path / "b.tif")
    assert "of which none is known to be black" in refusal(read_photo, tmp_path / "b.tif")


def test_grey_of_which_0_is_white_is_turned_round(tmp_path):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as file:
        assert file.tag_v2[262] == 0
    read = read_photo(tmp_path / "a.tif")
    assert read[0, 0, 0] == 255 and read[19, 29, 0] == 0


# Photos that are no files


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "I;16"])
def test_a_pil_image_is_read_as_its_file_is(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(noise(20, 30)[..., 0].astype(np.uint16) * 256)
    else:
        image = Image.fromarray(noise(20, 30)).convert(mode)
    image.save(tmp_path / "a.tif")
    read = as_photo(image)
    assert read.flags.writeable and read.dtype == np.uint8
    np.testing.assert_array_equal(read, read_photo(tmp_path / "a.tif"))
    np.testing.assert_array_equal(read, open_photo(image))


def test_a_pil_image_is_turned_upright_and_left_as_it_is(tmp_path):
    upright = noise(20, 30)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Image.open(saved(tmp_path / "a.png", STORED[6](upright), exif=exif)) as image:
        np.testing.assert_array_equal(as_photo(image), upright)
        assert image.size == (20, 30)


def test_a_pil_image_of_a_damaged_file_is_named(tmp_path):
    path = saved(tmp_path / "a.jpg", noise(60, 90))
    path.write_bytes(path.read_bytes()[:700])
    with Image.open(path) as image, pytest.raises(PhotoError, match=r"a\.jpg: photo is truncated"):
        as_photo(image)


def test_an_array_that_cannot_be_written_to_is_copied():
    array = noise(20, 30)
    assert as_photo(array) is array
    array.flags.writeable = False
    read = as_photo(array)
    assert read.flags.writeable and (read == array).all()


@pytest.mark.parametrize("wrong", [None, 3, b"photo", [[1, 2], [3, 4]]])
@pytest.mark.parametrize("read", [open_photo, as_photo])
def test_what_is_no_photo_is_a_type_error(read, wrong):
    told = f"expected a path, an array or a PIL image, got {type(wrong).__name__}"
    with pytest.raises(TypeError, match=told):
        read(wrong)


# Names and scale


@pytest.mark.parametrize("name", ["A.JPG", "b.Jpeg", "Анна и Борис, лето.jpg", "no_suffix"])
def test_any_name_is_read(tmp_path, name):
    path = saved(tmp_path / name, gradient(), format="JPEG")
    assert read_photo(path).shape == (40, 60, 3)
    assert read_photo(str(path)).shape == (40, 60, 3)
    assert photo_size(path) == (60, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    ("height", "width", "short_side", "shape"),
    [
        (40, 60, 20, (20, 30, 3)),
        (60, 40, 20, (30, 20, 3)),
        (400, 600, 20, (20, 30, 3)),
        (41, 60, 20, (20, 29, 3)),
        (40, 60, 40, (40, 60, 3)),
        (40, 60, 100, (40, 60, 3)),
        (60, 600, 6, (6, 60, 3)),
    ],
)
def test_short_side_scales_down_never_up(tmp_path, suffix, height, width, short_side, shape):
    path = saved(tmp_path / f"a.{suffix}", noise(height, width))
    assert read_photo(path, short_side).shape == shape


def test_scaling_keeps_each_place_where_it_was(tmp_path):
    array = np.zeros((200, 300, 3), np.uint8)
    array[50:100, 150:225] = 255
    for suffix in ("png", "jpg"):
        read = read_photo(saved(tmp_path / f"a.{suffix}", array), 40)[..., 0]
        assert (read[11:19, 31:44] > 240).all()
        read[9:21, 29:46] = 0
        assert (read < 15).all()
