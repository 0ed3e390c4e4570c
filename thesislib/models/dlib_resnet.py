"""dlib's face recogniser as PyTorch modules, its weights read from dlib's own file.

The network is that of dlib's example ``dnn_face_recognition_ex.cpp`` (King 2017): a ResNet34 (He et
al. 2016) with half the filters and fewer blocks, which maps a face cut out at 150 pixels to 128
numbers; its weights are in the public domain (CC0). It is built here from stages named by their
stride, so that a net can run the first of them over a whole photo and the others per face.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from thesislib.environment import dlib_file

# Stages in order: channels, and number of blocks, of which the first halves the map unless that
# is said not to be so ("stage4" comes after a max pooling).
_BLOCKS = {
    "stage4": (32, 3),
    "stage8": (64, 4),
    "stage16": (128, 3),
    "stage32": (256, 3),
    "stage64": (256, 1),
}
STAGES = ("stem", *_BLOCKS, "embedding")
TRUNK, FACE_LAYERS = STAGES[:2], STAGES[2:]  # of a joint net: over the photo, and per face
EMBEDDING_DIM = 128
# Share of the learning rate of new layers (``optimiser.make_optimiser``): dlib's weights are small,
# and no normalisation makes up for steps that are large beside them.
LEARNING_SHARE = 0.015
CHIP_PX = 150  # side of the square that dlib cuts out around a face, in pixels
# What dlib subtracts from RGB in 0..1, and what it divides the rest by.
MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)
STD = (256 / 255,) * 3

_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"


class TeacherError(ValueError):
    """A file of weights that is not dlib's recogniser; the message names it."""


class Block(nn.Module):
    """Residual block of two 3 x 3 convolutions (He et al. 2016); dlib's ``ares`` and ``ares_down``.

    Where it halves the map, the shortcut is a 2 x 2 average pooling with zeros for channels that
    are new, and the smaller of the two maps is continued with zeros (dlib's ``add_prev``).

    Args:
        before, after: channels.
        halves: stride 2 in place of 1.
        padded: give the convolution of stride 2 a pixel of zeros on the right and below, so that
            a map of n places always becomes one of n // 2. dlib has none, as chips are of one size.
    """

    def __init__(self, before: int, after: int, halves: bool, padded: bool) -> None:
        super().__init__()
        self.halves, self.padded, self.more = halves, padded, after - before
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, before, H, W] to [N, after, H / stride, W / stride]."""
        shortcut = x
        if self.halves:
            shortcut = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.more))
            if self.padded:
                x = F.pad(x, (0, 1, 0, 1))
        x = self.conv2(F.relu(self.conv1(x)))
        if self.halves and not self.padded:
            rows, columns = (s - o for s, o in zip(shortcut.shape[2:], x.shape[2:], strict=True))
            x = F.pad(x, (0, columns, 0, rows))
        return F.relu(x + shortcut)


class Stem(nn.Sequential):
    """7 x 7 convolution and 3 x 3 max pooling, both of stride 2.

    Args:
        padded: by 3 and 1 pixels, so that a map covers its photo; dlib has no padding.
    """

    def __init__(self, padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, stride=2, padding=3 if padded else 0)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1 if padded else 0)


class Embedding(nn.Module):
    """Mean over the map, and a linear layer: [N, 256, H, W] to [N, 128].

    All embeddings lie on one side of zero, two strangers' at a cosine of about 0.84. Their mean is
    not taken off: dlib's recogniser was taught by distances, to which the cosine is close only far
    from zero. About their mean, the faces it is least sure of are pulled up to the length of all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, EMBEDDING_DIM, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.mean(dim=(2, 3)))


def dlib_stages(names: Sequence[str], padded: bool) -> nn.Sequential:
    """Some stages of dlib's recogniser, one after the other, not yet with its weights.

    Args:
        names: of ``STAGES``, in their order. ``stem`` and ``stage4`` have stride 4; ``embedding``
            needs what ``stage64`` gives.
        padded: for a whole photo of any size, of which place (r, c) of the map of stride 4 is
            pixel (4 r, 4 c), and of that of stride 8 (8 r + 4, 8 c + 4). False is dlib's own form,
            for chips of 150 pixels, where they are (4 r + 5, 4 c + 5) and (8 r + 9, 8 c + 9).

    Raises:
        ValueError: an unknown stage.
    """
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise ValueError(f"stage {unknown[0]!r} is unknown; choose among {', '.join(STAGES)}")
    net = nn.Sequential()
    channels = 32
    for name in STAGES:
        if name == "stem":
            stage: nn.Module = Stem(padded)
        elif name == "embedding":
            stage = Embedding()
        else:
            before, (channels, count) = channels, _BLOCKS[name]
            stage = nn.Sequential(
                *(
                    Block(
                        channels if at else before,
                        channels,
                        halves=at == 0 and name != "stage4",
                        padded=padded,
                    )
                    for at in range(count)
                )
            )
        if name in names:
            net.add_module(name, stage)
    return net


# --- dlib's file ------------------------------------------------------------------------------


def weights_file() -> Path:
    """dlib's file of weights.

    Raises:
        MissingExtraError: the package that has it is not installed.
    """
    return dlib_file(_FILE)


def read_weights(path: Path | str | None = None) -> dict[str, torch.Tensor]:
    """dlib's weights by the names of ``dlib_stages(STAGES, ...)``.

    An affine layer follows each convolution in the file (what batch normalisation becomes after
    training); it is multiplied into the convolution here.

    Args:
        path: dlib's file; that of :func:`weights_file` where not given.

    Raises:
        MissingExtraError: as :func:`weights_file`.
        TeacherError: no such file, a truncated or altered one, or another net's.
    """
    path = Path(path) if path is not None else weights_file()
    if not path.is_file():
        raise TeacherError(f"{path}: no such file")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise TeacherError(
            f"{path}: truncated, altered or another net's; dlib's recogniser is the file {_FILE} "
            "of 22,466,066 bytes"
        )
    layers = _layers(content)
    weights = {}
    for name, module in dlib_stages(STAGES, padded=False).named_modules():
        if isinstance(module, nn.Conv2d):
            convolution, affine = next(layers), next(layers)
            gamma, beta = np.split(affine, 2)
            filters, bias = np.split(convolution, [-module.out_channels])
            filters = filters.reshape(module.weight.shape) * gamma[:, None, None, None]
            weights[f"{name}.weight"] = torch.from_numpy(filters)
            weights[f"{name}.bias"] = torch.from_numpy(bias * gamma + beta)
        elif isinstance(module, nn.Linear):
            weights[f"{name}.weight"] = torch.from_numpy(next(layers).reshape(256, -1).T.copy())
    return weights


# What the layers with parameters call themselves in the file; they lie there in the order in which
# they are computed.
_LAYER = re.compile(rb"con_4|affine_|fc_2\x01\x80\x02\x00\x01")


def _layers(content: bytes) -> Iterator[np.ndarray]:
    """Parameters of the layers, float32, flat.

    A tensor is: a version and four sizes, each an integer of one byte count and as many bytes,
    lowest first; then its numbers as float32.
    """
    at = 0
    while found := _LAYER.search(content, at):
        at = found.end()
        sizes = []
        for _ in range(5):
            end = at + 1 + content[at]
            sizes.append(int.from_bytes(content[at + 1 : end], "little"))
            at = end
        count = int(np.prod(sizes[1:]))
        yield np.frombuffer(content, "<f4", count, at)
        at += 4 * count


def copy_weights(net: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give stages of :func:`dlib_stages` their part of dlib's weights."""
    net.load_state_dict({name: weights[name] for name in net.state_dict()})


def dlib_recogniser(weights: dict[str, torch.Tensor] | None = None) -> nn.Sequential:
    """dlib's whole recogniser, of normalised chips [N, 3, 150, 150], in evaluation mode.

    Args:
        weights: of :func:`read_weights`, which is called where they are not given.
    """
    net = dlib_stages(STAGES, padded=False)
    copy_weights(net, weights or read_weights())
    return net.eval()
