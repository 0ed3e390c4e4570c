"""Backbones: a torchvision ResNet without its classifier, and the normalisation before it."""

from http.client import HTTPException

import torch
import torchvision
from torch import nn
from torchvision.models import ResNet

from thesislib.models.convolutions import PatchConv2d

BACKBONES = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
}
STRIDES = (16, 32)
# Mean and standard deviation of ImageNet's photos, in 0..1, per channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class WeightsUnavailableError(RuntimeError):
    """Pre-trained weights were asked for and cannot be had."""


def make_backbone(name: str, weights: str | None = None, stride: int = 32) -> ResNet:
    """A torchvision ResNet without its classifier, cut off behind a stage.

    Args:
        name: one of ``BACKBONES``.
        weights: None for random, or ``"imagenet"``.
        stride: pixels of the input for one place of the feature map: 32 for the whole ResNet, 16
            without its last stage.

    Raises:
        ValueError: unknown name, weights or stride.
        WeightsUnavailableError: the weights are not on this machine and cannot be fetched.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}")
    if weights not in (None, "imagenet"):
        raise ValueError(f"weights {weights!r} are unknown; choose None or 'imagenet'")
    if stride not in STRIDES:
        raise ValueError(
            f"stride {stride} is unknown; choose one of {', '.join(map(str, STRIDES))}"
        )
    try:
        net = BACKBONES[name](weights="DEFAULT" if weights else None)
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
    return (2048 if backbone == "resnet50" else 512) // (32 // stride)


def feature_map(backbone: ResNet, photos: torch.Tensor) -> torch.Tensor:
    """Last feature map [N, C, H / stride, W / stride] for photos float [N, 3, H, W]."""
    x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(photos))))
    return backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(x))))


class Normalise(nn.Module):
    """uint8 photos (0..255) or float ones (0..1) to zero mean and unit variance per channel."""

    layout = torch.channels_last  # in which convolutions are fastest
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        if not photos.is_floating_point():
            photos = photos.float() / 255
        return ((photos - self.mean) / self.std).contiguous(memory_format=self.layout)
