"""The nets that the benchmark trains, briefly, and how much of everything there is."""

import dataclasses

import torch
from torch import nn

from thesislib import seeds
from thesislib.benchmarks.timing import RUNS
from thesislib.engine.checkpoint import load_checkpoint
from thesislib.experiments.baseline_comparison import Experiment
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done: the numbers that decide how long it takes."""

    people: int = 20
    portraits: int = 520
    scenes: int = 160
    scenes_a_count: int = 8  # photos for each number of faces
    face_counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    small_px: int = 160  # people are learned at this size first, where a photo costs a quarter
    small_epochs: int = 10
    epochs: int = 2  # at the full size, from there
    scene_epochs: int = 8
    input_px: int = 320
    face_px: int = 160  # of a face cut out for the pipeline's classifier, where there are many
    photo_px: tuple[int, ...] = (160, 640)
    backbones: tuple[str, ...] = ("resnet34", "resnet18")
    grids: tuple[int, ...] = (5, 10, 20)
    batches: tuple[int, ...] = (2, 4, 8)
    identities: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000)
    calibration: int = 100
    checks: int = 120
    runs: int = RUNS


SIZES = {
    "benchmark": Size(),
    # Seconds, to see that everything runs; its numbers mean nothing.
    "smoke": Size(
        people=3,
        portraits=24,
        scenes=16,
        scenes_a_count=1,
        face_counts=(1, 4),
        small_px=64,
        small_epochs=1,
        epochs=1,
        scene_epochs=1,
        input_px=128,
        face_px=64,
        photo_px=(160,),
        backbones=("resnet18",),
        grids=(2, 8),
        batches=(2,),
        identities=(10, 1000),
        calibration=8,
        checks=6,
        runs=2,
    ),
}


class EarlyStageNet(JointNet):
    """A joint net on the ResNet's third stage: stride 16, so a 20 x 20 grid at 320 pixels.

    Arguments as for :class:`thesislib.model.JointNet`.
    """

    def __init__(self, identities, anchors, backbone, embedding_dim, normalised, loss) -> None:
        super().__init__(
            identities,
            anchors,
            backbone,
            pooling=1,
            embedding_dim=embedding_dim,
            normalised=normalised,
            loss=loss,
        )
        self.cell = 16
        self.backbone.layer4 = nn.Identity()
        for name in ("regression_head", "embedding_head"):
            head = getattr(self, name)
            fine = nn.Conv2d(256, head.out_channels, kernel_size=1)
            with torch.no_grad():
                fine.bias.copy_(head.bias)
                if name == "regression_head":
                    fine.weight.normal_(std=0.01)
            setattr(self, name, fine)


@dataclasses.dataclass(frozen=True)
class ContinuedExperiment(Experiment):
    """Training that goes on, with the same people, where that of smaller photos or ResNets ended.

    Blocks that the smaller ResNet has too are taken from ``start``; the others begin as the
    identity, so that before the first step both give the same (Net2Net, Chen et al. 2016).

    Attributes:
        blocks: how many each stage of the net in ``start`` has.
    """

    blocks: int = 2

    def new_net(self, system: str) -> nn.Module:
        net = super().new_net(system)
        for stage in (1, 2, 3, 4):
            for block in getattr(net.backbone, f"layer{stage}")[self.blocks :]:
                nn.init.zeros_(block.bn2.weight)
        if system == "joint":
            tensors, _ = load_checkpoint(self.start)
            tensors = {name.removeprefix("model."): value for name, value in tensors.items()}
            own = {name for name in net.state_dict() if name.startswith("classifier.")}
            net.load_state_dict({name: tensors[name] for name in own}, strict=False)
        return net

    def _about(self, system: str) -> dict:
        return {**super()._about(system), "blocks": self.blocks, "people": "kept"}


@dataclasses.dataclass(frozen=True)
class GridExperiment(Experiment):
    """Training on scenes with a grid of ``grid`` x ``grid`` cells at the input's size."""

    grid: int = 5

    def new_net(self, system: str) -> nn.Module:
        p = self.profile
        stride = p.input_px // self.grid
        if stride != 16:
            pooled = dataclasses.replace(p, pooling=stride // 32)
            return Experiment.new_net(dataclasses.replace(self, profile=pooled), system)
        torch.manual_seed(seeds.torch_seed(self.seed, "weights"))
        loss = JointLoss(
            p.lambda_box, p.lambda_no_object, p.lambda_identity, label_smoothing=p.label_smoothing
        )
        return EarlyStageNet(
            self.identities, self.anchors, p.backbone, p.embedding_dim, p.normalised, loss
        )

    def _about(self, system: str) -> dict:
        return {**super()._about(system), "grid": self.grid}
