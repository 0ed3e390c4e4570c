"""Backbones: a ResNet without its classifier, torchvision's or dlib's, and what comes before it."""

from collections.abc import Sequence
from http.client import HTTPException

import torch
import torchvision
from torch import nn
from torchvision.models import ResNet

from thesislib.models import dlib_resnet
from thesislib.models.convolutions import PatchConv2d

RESNETS = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
}
BACKBONES = (*RESNETS, "dlib")
# Places of the map by the last stage that is kept: of a ResNet layer3 or layer4.
STRIDES = {"dlib": (32, 64), **dict.fromkeys(RESNETS, (16, 32))}
# Mean and standard deviation of ImageNet's photos, in 0..1, per channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class WeightsUnavailableError(RuntimeError):
    """Pre-trained weights were asked for and cannot be had."""


def make_backbone(name: str, weights: str | None = None, stride: int = 32) -> nn.Module:
    """A network without its classifier, cut off behind a stage.

    Args:
        name: one of ``BACKBONES``.
        weights: None for random; ``"imagenet"`` of torchvision's, ``"dlib"`` of dlib's.
        stride: pixels of the input for one place of the feature map, one of ``STRIDES``: the whole
            network, or without its last stage.

    Raises:
        ValueError: unknown name, weights or stride.
        WeightsUnavailableError: the weights are not on this machine and cannot be fetched.
        MissingExtraError, TeacherError: see :func:`thesislib.models.dlib_resnet.read_weights`.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}")
    own = "dlib" if name == "dlib" else "imagenet"
    if weights not in (None, own):
        raise ValueError(f"weights {weights!r} of {name} are unknown; choose None or {own!r}")
    if stride not in STRIDES[name]:
        raise ValueError(
            f"stride {stride} of {name} is unknown; choose one of "
            f"{', '.join(map(str, STRIDES[name]))}"
        )
    if name == "dlib":
        return _dlib(weights, stride)
    return _resnet(name, weights, stride)


def _dlib(weights: str | None, stride: int) -> nn.Sequential:
    stages = dlib_resnet.STAGES[: -2 if stride == 32 else -1]
    net = dlib_resnet.dlib_stages(stages, padded=True)
    if weights:
        dlib_resnet.copy_weights(net, dlib_resnet.read_weights())
    return net


def _resnet(name: str, weights: str | None, stride: int) -> ResNet:
    try:
        net = RESNETS[name](weights="DEFAULT" if weights else None)
    # A refused or absent connection; a download that broke off, or came with another hash.
    except (OSError, RuntimeError, HTTPException) as error:
        raise WeightsUnavailableError(
            f"ImageNet weights of {name} are not on this machine and could not be fetched "
            f"({error}). Go on with weights=None (train from scratch), or put the file that "
            f"torchvision names into {torch.hub.get_dir()}/checkpoints and run again"
        ) from error
    net.fc = nn.Identity()  # type: ignore[assignment]
    if stride == 16:
        net.layer4 = nn.Identity()  # type: ignore[assignment]
    for block in net.layer4.children():
        for name, conv in list(block.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                setattr(block, name, PatchConv2d.like(conv))
    return net


def feature_channels(backbone: str, stride: int = 32) -> int:
    """Channels C of the feature map of a backbone in ``BACKBONES``."""
    if backbone == "dlib":
        return 256
    return (2048 if backbone == "resnet50" else 512) // (32 // stride)


def feature_map(backbone: nn.Module, photos: torch.Tensor) -> torch.Tensor:
    """Last feature map [N, C, H / stride, W / stride] for photos float [N, 3, H, W]."""
    if not isinstance(backbone, ResNet):
        return backbone(photos)
    x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(photos))))
    return backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(x))))


class Normalise(nn.Module):
    """uint8 photos (0..255) or float ones (0..1), less a mean and over a deviation per channel.

    Args:
        mean, std: of R, G and B, in 0..1.
    """

    layout = torch.channels_last  # in which convolutions are fastest
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def of(cls, backbone: str) -> "Normalise":
        """What a backbone in ``BACKBONES`` was made for: ImageNet's numbers, or dlib's."""
        return cls(dlib_resnet.MEAN, dlib_resnet.STD) if backbone == "dlib" else cls()

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        if not photos.is_floating_point():
            photos = photos.float() / 255
        return ((photos - self.mean) / self.std).contiguous(memory_format=self.layout)
