"""Photos as tensors: scaled, cut, augmented. The one place that scales pixels."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

_SHRINKS = 1.5  # pixels for one: from here on a bilinear sample leaves out some
# A photo that is scaled to more pixels than this is a mistake: a line, not a photo.
MAX_SCALED_PIXELS = 40_000_000
PADDING = 124  # grey about as bright as the average photo, 0..255


def scaled_size(height: int, width: int, input_px: int) -> tuple[int, int]:
    """Height and width of a photo scaled to ``input_px`` on the shorter side, halves rounded up.

    >>> scaled_size(480, 641, 320)
    (320, 427)
    """
    shorter = torch.sym_min(height, width)
    rows, columns = ((2 * side * input_px + shorter) // (2 * shorter) for side in (height, width))
    return rows, columns  # type: ignore[return-value]  # symbols, while a graph is traced


def scaled_sizes(photos: Sequence[np.ndarray], input_px: int) -> list[tuple[int, int]]:
    """Height and width of photos scaled to ``input_px`` on the shorter side, see
    :func:`scaled_size`.

    Raises:
        ValueError: an array that is no photo, or a photo so long and narrow that it cannot be
            scaled; it is named by its place.
    """
    sizes = []
    for at, photo in enumerate(photos):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise ValueError(
                f"photo {at}: expected uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}"
            )
        size = scaled_size(photo.shape[0], photo.shape[1], input_px)
        if size[0] * size[1] > MAX_SCALED_PIXELS:
            raise ValueError(
                f"photo {at}, {photo.shape[1]} x {photo.shape[0]} pixels: scaled to {input_px} on "
                f"the shorter side it would be {size[1]} x {size[0]}; cut it first"
            )
        sizes.append(size)
    return sizes


def scaled_photo(
    photo: np.ndarray, input_px: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """A decoded photo as a net gets it.

    Args:
        photo: uint8 [H, W, 3].
        input_px: shorter side of the result in pixels.
        device: on which it is scaled.

    Returns:
        uint8 [3, h, w], see :func:`scaled_size`.
    """
    # Photos may be mirrored views, or not to be written to: PyTorch takes neither.
    pixels = torch.from_numpy(np.require(photo, requirements=["C", "W"]))
    height, width = photo.shape[:2]
    return resize(pixels.permute(2, 0, 1).to(device), scaled_size(height, width, input_px))


def scale_factors(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By what a box in a photo scaled to ``size`` (height, width) is multiplied to be one in the
    photo [H, W, 3]: float32 [4]."""
    height, width = photo.shape[:2]
    return np.array([width / size[1], height / size[0]] * 2, dtype=np.float32)


def cut_square(photo: torch.Tensor, box: np.ndarray, size: int, margin: float) -> torch.Tensor:
    """Cut the square of ``margin`` times a box's longer side around its centre, and scale it.

    Args:
        photo: uint8 [3, H, W].
        box: [4] pixels.
        size: side of the result in pixels.
        margin: > 0; where the square leaves the photo it is padded.

    Returns:
        uint8 [3, size, size].
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    side = max(2, round(margin * max(x2 - x1, y2 - y1)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    height, width = photo.shape[1:]
    inside = photo[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    pad = (max(0, -left), max(0, left + side - width), max(0, -top), max(0, top + side - height))
    square = F.pad(inside, pad, value=PADDING)[:, :side, :side]
    return resize(square, (size, size))


def resize(photos: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scale photos as Pillow does: bilinear, antialiased, rounded to whole numbers.

    Args:
        photos: uint8 [..., 3, H, W], on any device.
        size: height and width of the result in pixels.

    Returns:
        uint8 [..., 3, height, width].
    """
    if tuple(photos.shape[-2:]) == tuple(size):
        return photos
    batch = photos if photos.ndim == 4 else photos[None]
    if batch.device.type == "cpu":
        scaled = F.interpolate(batch, size=size, mode="bilinear", antialias=True)
    else:  # PyTorch scales whole numbers on the CPU alone
        scaled = F.interpolate(batch.float(), size=size, mode="bilinear", antialias=True)
        scaled = scaled.round_().clamp_(0, 255).to(torch.uint8)
    return scaled if photos.ndim == 4 else scaled[0]


def warped(image: Image.Image, transform: np.ndarray, size: int) -> Image.Image:
    """A square of a photo, turned and scaled; bilinear, antialiased where it shrinks.

    Args:
        image: RGB.
        transform: float [2, 3], (x, y, 1) of the result to (x, y) of the image, a similarity with
            or without reflection; coordinates count from the corner of the first pixel.
        size: side of the result in pixels; what lies beyond the image is ``PADDING``.
    """
    shrinks = float(np.linalg.norm(transform[:, 0]))
    if shrinks > _SHRINKS:
        small = [max(1, round(side / shrinks)) for side in image.size]
        factors = np.divide(small, image.size)
        image = image.resize(small, Image.Resampling.BILINEAR, reducing_gap=2.0)
        transform = transform * factors[:, None]
    return image.transform(
        (size, size),
        Image.Transform.AFFINE,
        tuple(transform.ravel()),
        Image.Resampling.BILINEAR,
        fillcolor=(PADDING,) * 3,
    )


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a training photo.

    Attributes:
        crop_scale: side of the square crop as a fraction of the photo's shorter side, drawn
            between these two; beyond 1 the photo is padded. (1, 1) is the thesis's crop.
        flip: probability of a mirror image.
        colour: brightness, contrast and saturation are each changed by up to this factor.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    colour: float = 0.2


class RandomSquareCrop(v2.Transform):
    """Cut a random square that holds the centre of a face, and scale it to ``size``.

    Draws from PyTorch's default generator. Boxes are moved and scaled with the pixels, but not
    clamped: how much of a face is left is judged on the whole box.

    Args:
        size: side of the result in pixels.
        scale: range of the square's side as a fraction of the photo's shorter side, > 0; what
            lies beyond the photo is ``PADDING``.
    """

    def __init__(self, size: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.size = size
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Corner and side of the square, in pixels: ``top``, ``left``, ``side``."""
        height, width = v2.functional.get_size(flat_inputs[0])
        low, high = self.scale
        fraction = low + (high - low) * float(torch.rand(()))
        side = max(1, round(min(height, width) * fraction))
        boxes = next((x for x in flat_inputs if isinstance(x, tv_tensors.BoundingBoxes)), None)
        centre = None
        if boxes is not None and len(boxes):
            face = boxes[int(torch.randint(len(boxes), ()))]
            centre = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
        corner = []
        for axis, length in enumerate((width, height)):
            # A crop larger than the photo hangs over by at most the difference, on either side.
            first, last = sorted((0, length - side))
            if centre is not None:
                first = max(first, int(centre[axis]) - side + 1)
                last = min(last, int(centre[axis]))
            corner.append(round(first + (last - first) * float(torch.rand(()))))
        left, top = corner
        return {"top": top, "left": left, "side": side}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The part of a photo, or the boxes of its faces, in the square."""
        top, left, side = params["top"], params["left"], params["side"]
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            offset = torch.tensor([left, top, left, top], dtype=inpt.dtype)
            boxes = (inpt.as_subclass(torch.Tensor) - offset) * (self.size / side)
            return tv_tensors.BoundingBoxes(
                boxes, format="XYXY", canvas_size=(self.size, self.size)
            )
        height, width = v2.functional.get_size(inpt)
        pad = [
            max(0, -left),
            max(0, -top),
            max(0, left + side - width),
            max(0, top + side - height),
        ]
        if any(pad):
            inpt = v2.functional.pad(inpt, pad, fill=PADDING)
        left, top = left + pad[0], top + pad[1]
        return v2.functional.resized_crop(
            inpt, top, left, side, side, [self.size, self.size], antialias=True
        )
