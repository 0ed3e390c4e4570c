"""What the embedding's layer sees of each face: features from layers before it that stay."""

import dataclasses
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from thesislib.data.loading import Crops, collate
from thesislib.data.schema import DatasetError
from thesislib.models.anchors import assign
from thesislib.models.chips import sample_patches
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import largest_identity


@dataclasses.dataclass(frozen=True)
class FaceFeatures:
    """What the embedding's layer sees of each face, from layers before it that stay as they are.

    Attributes:
        features: float32 [F, C].
        anchors: int64 [F], the anchor that each face is assigned to; 0 in a net whose head does
            not depend on it.
        identities: int64 [F].
    """

    features: torch.Tensor
    anchors: torch.Tensor
    identities: torch.Tensor


def last_layer(net: JointNet | FaceClassifier) -> nn.Module:
    """What makes a face's embedding of its features: the embedding head, or dlib's last layer."""
    if isinstance(net, JointNet) and net.embedding_source == "landmarks":
        head: Any = net.embedding_head
        return head.embedding.linear
    return net.embedding_head


@torch.no_grad()
def face_features(
    net: JointNet | FaceClassifier, crops: Crops, views: int, batch: int, progress: bool = False
) -> FaceFeatures:
    """Features of the known faces in augmented crops.

    Args:
        net: whose layers before the last are used; put into evaluation mode.
        crops: of photos of the new identities; for a classifier of faces, of faces cut out.
        views: crops of each photo.
        batch: crops at a time.
        progress: show a bar.

    Returns:
        features on the net's device; faces without a place in the grid are left out.

    Raises:
        DatasetError: no face is left.
    """
    net.eval()
    keys = [(view, at) for view in range(views) for at in range(len(crops))]
    found = []
    of_batch: Any = _cut_out_features
    if isinstance(net, JointNet):
        of_batch = _landmark_features if net.embedding_source == "landmarks" else _grid_features
    starts = range(0, len(keys), batch)
    for start in tqdm(starts, desc="features", unit="batch", disable=not progress):
        photos, targets = collate([crops[key] for key in keys[start : start + batch]])
        found += of_batch(net, photos.to(net.device), targets)
    faces = FaceFeatures(*(torch.cat(one).to(net.device) for one in zip(*found, strict=True)))
    if not len(faces.features):
        raise DatasetError("no face of a known identity is left in the crops")
    return faces


_Rows = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def _grid_features(net: JointNet, photos: torch.Tensor, targets: list[dict[str, Any]]) -> _Rows:
    feature_map = net.features(photos)
    pooled = net.pool(feature_map)
    grid = pooled.shape[-2:]
    found = []
    for at, target in enumerate(targets):
        known = target["identities"] >= 0
        place = assign(target["boxes"][known], net.anchors, grid, net.cell)
        placed = place >= 0
        boxes = target["boxes"][known][placed].to(net.device)
        anchor = place[placed].to(net.device) // grid.numel()
        if net.embedding_source == "grid":
            cell = place[placed].to(net.device) % grid.numel()
            features = pooled[at].flatten(1)[:, cell].T
        else:
            photo = torch.full_like(anchor, at)
            features = net.region_features(feature_map, photo, boxes).flatten(1)
            anchor = torch.zeros_like(anchor)
        found.append((features.float(), anchor, target["identities"][known][placed]))
    return found


def _landmark_features(net: JointNet, photos: torch.Tensor, targets: list[dict[str, Any]]) -> _Rows:
    outputs = net(photos)
    known = [target["identities"] >= 0 for target in targets]
    boxes = [target["boxes"][own] for target, own in zip(targets, known, strict=True)]
    photo, landmarks = net.landmarks_at(outputs, boxes)
    before: Any = net.embedding_head
    features = before[:-1](sample_patches(outputs.source, photo, landmarks)).mean(dim=(2, 3))
    identities = [target["identities"][own] for target, own in zip(targets, known, strict=True)]
    return [(features.float(), torch.zeros_like(photo), torch.cat(identities))]


def _cut_out_features(
    net: FaceClassifier, photos: torch.Tensor, targets: list[dict[str, Any]]
) -> _Rows:
    identities = torch.tensor([largest_identity(target) for target in targets])
    known = identities >= 0
    features = net.features(photos[known.to(photos.device)])
    return [(features.float(), torch.zeros_like(identities[known]), identities[known])]


def embed_features(
    net: JointNet | FaceClassifier, features: torch.Tensor, anchors: torch.Tensor
) -> torch.Tensor:
    """The last layer on features [F, C] of faces at anchors int64 [F]: embeddings [F, E]."""
    layer = last_layer(net)
    if isinstance(layer, nn.Linear):
        return layer(features)
    every = layer(features[:, :, None, None]).flatten(1)  # [F, A * E] or [F, E]
    of_anchor = every.unflatten(1, (-1, net.embedding_dim))
    return of_anchor[torch.arange(len(features), device=features.device), anchors]
