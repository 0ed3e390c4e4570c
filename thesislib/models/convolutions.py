"""Convolutions laid out and computed as is fastest in training on a CPU."""

import torch
import torch.nn.functional as F
from torch import nn

SMALL_MAP = 25  # places; see PatchConv2d


class PatchConv2d(nn.Conv2d):
    """A 3 x 3 convolution which in training multiplies the patches of a small map as one matrix.

    Output and gradients are those of ``nn.Conv2d`` up to rounding. On CPUs the convolutions of
    oneDNN, above all their gradients, take several times as long as the product where a map has few
    places and many channels; from about 10 x 10 places on they are the faster ones, and when
    nothing is trained there is no difference worth having.
    """

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "PatchConv2d":
        """With the weights of a convolution 3 x 3, padded by 1, without bias."""
        with torch.device("meta"):
            stride = (conv.stride[0], conv.stride[1])
            new = cls(conv.in_channels, conv.out_channels, 3, stride, padding=1, bias=False)
        new.weight = conv.weight
        return new

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to [N, D, rows, columns]."""
        down, across = self.stride
        rows, columns = -(-x.shape[2] // down), -(-x.shape[3] // across)
        if not self.training or x.device.type != "cpu" or rows * columns > SMALL_MAP:
            return super().forward(x)
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # [N, H + 2, W + 2, C]
        patches = torch.cat(
            [
                padded[:, top : top + down * rows : down, left : left + across * columns : across]
                for top in range(3)
                for left in range(3)
            ],
            dim=3,
        )
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # [D, 9 C]
        return F.linear(patches, weight).permute(0, 3, 1, 2)


def use_channels_last(model: torch.nn.Module) -> None:
    """Lay out the weights of 2-D convolutions as they are computed fastest; in place."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
