"""New identities for a trained joint net: nothing, a part, or all of it is trained further.

What a variant costs depends on what it leaves as it is. Class means need one embedding per photo.
While the backbone stays, the features of a face stay too: they are computed once, and the
classifier, with or without the embedding head, is trained on them in seconds. Only where the
backbone learns as well must every step see photos again.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from thesislib import seeds
from thesislib.data.loading import Crops, collate, list_photos
from thesislib.data.schema import Dataset, DatasetError
from thesislib.engine.embed import annotated_faces, embed
from thesislib.engine.optimiser import learning_rate
from thesislib.engine.train import joint_loss, new_joint_net, provenance, train_net, training_crops
from thesislib.environment import commit
from thesislib.metrics.similarity import normalise
from thesislib.models.anchors import assign
from thesislib.models.heads import IdentityClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import logits_with_margin
from thesislib.profiles import Profile

MAX_VIEWS = 4  # augmented crops of each photo whose features are computed
FROZEN_RATE = 1e-2  # highest learning rate of what is trained on features that stay
FINE_TUNING = 0.3  # share of the profile's learning rate when everything is trained further


# --- without training -------------------------------------------------------------------------


def class_means(embeddings: np.ndarray, identities: Sequence[str]) -> dict[str, np.ndarray]:
    """Mean direction of each identity's embeddings.

    Args:
        embeddings: float [F, E]; rows with NaN are left out.
        identities: F names; faces of nobody ("") are left out.

    Returns:
        by name, in alphabetical order, float32 [E] of length 1.

    Raises:
        DatasetError: an identity without any embedding, or whose embeddings cancel out.

    The mean of embeddings of length 1, scaled to length 1 (prototypical networks, Snell et al.
    2017, section 2.2, here with the cosine).

    >>> means = class_means(np.array([[2.0, 0], [0, 1], [0, 3]]), ["ann", "ann", "bob"])
    >>> {name: mean.round(3).tolist() for name, mean in means.items()}
    {'ann': [0.7070000171661377, 0.7070000171661377], 'bob': [0.0, 1.0]}
    """
    names = np.asarray(identities, dtype=object)
    embedded = ~np.isnan(embeddings).any(axis=1)
    means = {}
    for name in sorted(set(names) - {""}):
        own = embeddings[embedded & (names == name)]
        total = normalise(own).sum(axis=0) if len(own) else np.zeros(1)
        length = np.linalg.norm(total)
        if length == 0:
            raise DatasetError(f"{name!r} has no embedding to take a mean of")
        means[name] = (total / length).astype(np.float32)
    return means


def enrol_class_means(net: JointNet, dataset: Dataset) -> JointNet:
    """A copy of a net that names the identities of a dataset by the nearest class mean.

    Nothing is trained: the weights of the new classifier are the identities' mean embeddings,
    compared by cosine.

    Args:
        net: trained on whomever; left as it is.
        dataset: photos of the new identities.

    Returns:
        the new net in evaluation mode, where ``net`` is.

    Raises:
        DatasetError: nobody is named, or the net's grid has no place for any face of somebody.
    """
    _require_names(dataset)
    means = class_means(embed(net, dataset), annotated_faces(dataset)["identity"].tolist())
    new = copy.deepcopy(net)
    new.identities = list(means)
    new.classifier = IdentityClassifier(net.embedding_dim, len(means), normalised=True)
    with torch.no_grad():
        weight = torch.from_numpy(np.stack(list(means.values())))
        new.classifier.conv.weight.copy_(weight.view_as(new.classifier.conv.weight))
    new.provenance = {
        "data": dataset.content_hash,
        "trained": "nothing",
        "source": net.fingerprint,
        "commit": commit(),
    }
    return new.to(net.device).eval()


# --- training what follows the backbone -------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FaceFeatures:
    """What the embedding head sees of each face, from a backbone that stays as it is.

    Attributes:
        features: float32 [F, C].
        anchors: int64 [F], the anchor that each face is assigned to; 0 in a net that reads
            regions, whose head does not depend on it.
        identities: int64 [F].
    """

    features: torch.Tensor
    anchors: torch.Tensor
    identities: torch.Tensor


@torch.no_grad()
def face_features(net: JointNet, crops: Crops, views: int, batch: int) -> FaceFeatures:
    """Features of the known faces in augmented crops.

    Args:
        net: whose backbone and grid are used; put into evaluation mode.
        crops: of photos of the new identities.
        views: crops of each photo.
        batch: crops at a time.

    Returns:
        features on the net's device; faces without a place in the grid are left out.

    Raises:
        DatasetError: no face is left.
    """
    net.eval()
    keys = [(view, at) for view in range(views) for at in range(len(crops))]
    found = []
    for start in range(0, len(keys), batch):
        photos, targets = collate([crops[key] for key in keys[start : start + batch]])
        feature_map = net.features(photos.to(net.device))
        pooled = net.pool(feature_map)
        grid = pooled.shape[-2:]
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
            identities = target["identities"][known][placed].to(net.device)
            found.append((features.float(), anchor, identities))
    faces = FaceFeatures(*(torch.cat(one) for one in zip(*found, strict=True)))
    if not len(faces.features):
        raise DatasetError("no face of a known identity is left in the crops")
    return faces


def embed_features(net: JointNet, features: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """The embedding head on features [F, C] of faces at anchors int64 [F]: embeddings [F, E]."""
    every = net.embedding_head(features[:, :, None, None]).flatten(1)  # [F, A * E] or [F, E]
    of_anchor = every.unflatten(1, (-1, net.embedding_dim))
    return of_anchor[torch.arange(len(features), device=features.device), anchors]


def train_on_features(
    net: JointNet,
    faces: FaceFeatures,
    profile: Profile,
    steps: int,
    seed: int,
    embedding_head: bool = False,
) -> None:
    """Train the classifier, and on request the embedding head, on features that stay.

    Args:
        net: trained in place; left in evaluation mode.
        faces: of the new identities, on the net's device.
        profile: batch, margin, label smoothing, weight decay and warm-up.
        steps: optimiser steps.
        seed: of the order of the faces.
        embedding_head: train it too; else embeddings are computed once.
    """
    trained = [
        parameter
        for part in ([net.classifier, net.embedding_head] if embedding_head else [net.classifier])
        for parameter in part.parameters()
        if parameter.requires_grad
    ]
    optimiser = torch.optim.AdamW(trained, FROZEN_RATE, weight_decay=profile.weight_decay)
    with torch.no_grad():
        embeddings = embed_features(net, faces.features, faces.anchors)
    batch = min(profile.batch, len(faces.features))
    rng = seeds.generator(seed, "features")
    order: list[int] = []
    for step in range(steps):
        if len(order) < batch:
            order = rng.permutation(len(faces.features)).tolist()
        at = torch.tensor([order.pop() for _ in range(batch)], device=net.device)
        if embedding_head:
            vectors = embed_features(net, faces.features[at], faces.anchors[at])
        else:
            vectors = embeddings[at]
        identities = faces.identities[at]
        logits = logits_with_margin(net.classifier.at(vectors), identities, profile.margin)
        loss = F.cross_entropy(logits, identities, label_smoothing=profile.label_smoothing)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, FROZEN_RATE, profile.warm_up)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()


def train_classifier(
    net: JointNet,
    dataset: Dataset,
    profile: Profile,
    *,
    steps: int | None = None,
    seed: int = 0,
    embedding_head: bool = False,
) -> JointNet:
    """Teach a trained net the identities of a dataset; backbone and boxes stay as they are.

    Args:
        net: trained on whomever; left as it is.
        dataset: photos of the new identities.
        profile: settings of the training.
        steps: optimiser steps; None for the profile's ``transfer_steps``.
        seed: of everything random.
        embedding_head: train the embedding head too, not the classifier alone.

    Returns:
        the new net in evaluation mode, where ``net`` is.

    Raises:
        DatasetError: nobody is named, or no face of them has a place in the net's grid.
        ValueError: the profile's margin does not fit the scale of the net's classifier.
    """
    profile = _settings_for(net, profile)
    steps = steps or profile.transfer_steps
    _require_names(dataset)
    new = with_new_classifier(net, dataset.identities, seed)
    crops = _crops(dataset, profile, seed)
    # No more views than the steps can use: of many photos one may be enough.
    views = min(MAX_VIEWS, math.ceil(steps * profile.batch / len(crops)))
    faces = face_features(new, crops, views, profile.batch)
    train_on_features(new, faces, profile, steps, seed, embedding_head)
    parts = "classifier and embedding head" if embedding_head else "classifier"
    new.provenance = _provenance(net, dataset, profile, seed, parts, steps)
    return new


def with_new_classifier(net: JointNet, identities: Sequence[str], seed: int) -> JointNet:
    """A copy of a net with an untrained classifier for other identities, where ``net`` is."""
    torch.manual_seed(seeds.torch_seed(seed, "new classifier"))
    new = copy.deepcopy(net)
    old = net.classifier
    new.identities = list(identities)
    new.classifier = IdentityClassifier(
        net.embedding_dim, len(identities), old.normalised, old.scale
    )
    return new.to(net.device)


# --- training everything ----------------------------------------------------------------------


def fine_tune(
    net: JointNet,
    dataset: Dataset,
    profile: Profile,
    out: Path | str,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> JointNet:
    """Teach a trained net the identities of a dataset by training all of it further.

    An interrupted call goes on; called again with the same arguments it opens the net that is
    there.

    Args:
        net: trained on whomever; left as it is.
        dataset: photos of the new identities.
        profile: settings; the learning rate is :data:`FINE_TUNING` of its own.
        out: folder of this training; gets ``net.safetensors``.
        steps, seed: as for :func:`train_classifier`.
        progress: show a bar.

    Returns:
        the new net in evaluation mode, where ``net`` is.

    Raises:
        CheckpointError: ``out`` holds another training: of other people, photos, settings, or
            from another net.
        DatasetError, ValueError: as for :func:`train_classifier`.
    """
    profile = _settings_for(net, profile)
    profile = dataclasses.replace(profile, learning_rate=FINE_TUNING * profile.learning_rate)
    steps = steps or profile.transfer_steps
    _require_names(dataset)
    new = train_net(
        with_new_classifier(net, dataset.identities, seed),
        joint_loss(profile),
        lambda: _crops(dataset, profile, seed),
        profile,
        out,
        _provenance(net, dataset, profile, seed, "everything", steps),
        progress=progress,
        steps=steps,
        label="fine-tuning",
    )
    return new.to(net.device)


def train_from_scratch(
    dataset: Dataset,
    profile: Profile,
    out: Path | str,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> JointNet:
    """Train a new net in as many steps as the others are given: what the old net was worth.

    Args:
        dataset, profile, out, steps, seed, progress: as for :func:`fine_tune`; the learning rate
            is the profile's.

    Raises:
        CheckpointError, DatasetError: as for :func:`fine_tune`.
    """
    steps = steps or profile.transfer_steps
    _require_names(dataset)
    identities = dataset.identities
    return train_net(
        new_joint_net(identities, list_photos(dataset, identities), profile, seed),
        joint_loss(profile),
        lambda: _crops(dataset, profile, seed),
        profile,
        out,
        _provenance(None, dataset, profile, seed, "everything", steps),
        progress=progress,
        steps=steps,
        label="from scratch",
    )


# --- what the variants share ------------------------------------------------------------------


def _settings_for(net: JointNet, profile: Profile) -> Profile:
    """The profile at the net's own input size.

    Raises:
        ValueError: its margin is of cosines that the net's classifier scales otherwise.
    """
    if profile.margin is not None and profile.margin.scale != net.classifier.scale:
        raise ValueError(
            f"the profile's margin needs a classifier of fixed scale {profile.margin.scale}; "
            f"the net's is {net.classifier.scale}"
        )
    return dataclasses.replace(profile, input_px=net.input_px)


def _require_names(dataset: Dataset) -> None:
    if not dataset.identities:
        raise DatasetError(f"{dataset.folder}: nobody in it is named, so no name can be learned")


def _crops(dataset: Dataset, profile: Profile, seed: int) -> Crops:
    photos = list_photos(dataset, dataset.identities)
    return training_crops(dataset, photos, profile, seed, progress=False)


def _provenance(
    net: JointNet | None, dataset: Dataset, profile: Profile, seed: int, trained: str, steps: int
) -> dict:
    return provenance(
        dataset.content_hash,
        profile,
        seed,
        identities=dataset.identities,
        trained=trained,
        steps=steps,
        source=net.fingerprint if net is not None else None,
    )
