"""New identities for a trained joint net: nothing, a part, or all of it is trained further.

What a variant costs depends on what it leaves as it is. Class means need one embedding per photo.
While the backbone stays, the features of a face stay too: they are computed once, and the
classifier, with or without the embedding head, is trained on them in seconds. A net that starts
from dlib's recogniser learns its people so, in one pass or in two. Only where the
backbone learns as well must every step see photos again.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from thesislib import seeds
from thesislib.data.loading import Crops, list_photos
from thesislib.data.schema import Dataset, DatasetError, check_named
from thesislib.engine.embed import annotated_faces, embed
from thesislib.engine.face_features import (
    FaceFeatures,
    embed_features,
    face_features,
    last_layer,
)
from thesislib.engine.optimiser import learning_rate
from thesislib.engine.train import joint_loss, new_joint_net, provenance, train_net, training_crops
from thesislib.environment import commit
from thesislib.metrics.similarity import normalise
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.heads import IdentityClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import logits_with_margin
from thesislib.profiles import Profile

MAX_VIEWS = 4  # augmented crops of each photo whose features are computed
NAMING_VIEWS = 2  # likewise for dlib's recogniser, whose embeddings change little between them
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
    check_named(dataset)
    means = class_means(embed(net, dataset), annotated_faces(dataset)["identity"].tolist())
    return _with_templates(net, list(means), np.stack(list(means.values())), dataset)


def enrol_nearest(net: JointNet, dataset: Dataset) -> JointNet:
    """A copy of a net that names the identities of a dataset by the nearest of their faces.

    Nothing is trained: the new classifier has the embedding of every named face as a row, so that
    ``identities`` holds a name as often as it has faces.

    Args, returns and raises as :func:`enrol_class_means`.
    """
    check_named(dataset)
    vectors, names = embed(net, dataset), annotated_faces(dataset)["identity"].tolist()
    class_means(vectors, names)  # tells of somebody without any embedding
    kept = [at for at, name in enumerate(names) if name and not np.isnan(vectors[at]).any()]
    return _with_templates(net, [names[at] for at in kept], vectors[kept], dataset)


def _with_templates(
    net: JointNet, names: list[str], templates: np.ndarray, dataset: Dataset
) -> JointNet:
    """A copy of a net whose classifier compares with templates [K, E] by cosine."""
    new = copy.deepcopy(net)
    new.identities = names
    new.classifier = IdentityClassifier(net.embedding_dim, len(names), normalised=True)
    with torch.no_grad():
        weight = torch.from_numpy(normalise(templates).astype(np.float32))
        new.classifier.conv.weight.copy_(weight.view_as(new.classifier.conv.weight))
    new.provenance = {
        "data": dataset.content_hash,
        "trained": "nothing",
        "source": net.fingerprint,
        "commit": commit(),
    }
    return new.to(net.device).eval()


# --- training what follows the backbone -------------------------------------------------------


def train_on_features(
    net: JointNet | FaceClassifier,
    faces: FaceFeatures,
    profile: Profile,
    steps: int,
    seed: int,
    embedding_head: bool = False,
) -> None:
    """Train the classifier, and on request the embedding head, on features that stay.

    All of dlib's embeddings lie on one side of zero, and a plain linear classifier would learn for
    long where that is. It sees them about their mean and of variance 1, and takes both into its
    weights in the end.

    Args:
        net: trained in place; left in evaluation mode.
        faces: of the new identities, on the net's device.
        profile: batch, margin, label smoothing, weight decay and warm-up.
        steps: optimiser steps.
        seed: of the order of the faces.
        embedding_head: train it too, or dlib's last layer; else embeddings are computed once.

    Raises:
        ValueError: the profile's margin does not fit the scale of the classifier.
    """
    _check_margin(net, profile)
    parts: list[nn.Module] = [net.classifier]
    if embedding_head:
        parts.append(last_layer(net))
    shares = (1.0, getattr(net.embedding_head, "learning_share", 1.0))
    trained = [
        {"params": [p for p in part.parameters() if p.requires_grad], "share": share}
        for part, share in zip(parts, shares, strict=False)
    ]
    optimiser = torch.optim.AdamW(trained, FROZEN_RATE, weight_decay=profile.weight_decay)
    with torch.no_grad():
        embeddings = embed_features(net, faces.features, faces.anchors)
    middle, spread = torch.zeros_like(embeddings[0]), torch.ones_like(embeddings[0, 0])
    one_sided = net.backbone_name == "dlib" and not net.classifier.normalised
    if one_sided:
        middle = embeddings.mean(dim=0)
        spread = (embeddings - middle).square().mean().sqrt().clamp(min=1e-6)
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
        named = net.classifier.at((vectors - middle) / spread)
        logits = logits_with_margin(named, identities, profile.margin)
        loss = F.cross_entropy(logits, identities, label_smoothing=profile.label_smoothing)
        for group in optimiser.param_groups:
            rate = learning_rate(step, steps, FROZEN_RATE, profile.warm_up)
            group["lr"] = rate * group["share"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if one_sided:
        with torch.no_grad():
            conv: Any = net.classifier.conv
            conv.weight /= spread
            conv.bias -= conv.weight.flatten(1) @ middle
    net.eval()


def train_classifier(
    net: JointNet,
    dataset: Dataset,
    profile: Profile,
    *,
    steps: int | None = None,
    seed: int = 0,
    embedding_head: bool = False,
    faces: FaceFeatures | None = None,
) -> JointNet:
    """Teach a trained net the identities of a dataset; backbone and boxes stay as they are.

    Args:
        net: trained on whomever; left as it is.
        dataset: photos of the new identities.
        profile: settings of the training.
        steps: optimiser steps; None for the profile's ``transfer_steps``.
        seed: of everything random.
        embedding_head: train the embedding head too, not the classifier alone.
        faces: from :func:`new_faces`, where they were computed before; None to compute them.

    Returns:
        the new net in evaluation mode, where ``net`` is.

    Raises:
        DatasetError: nobody is named, or no face of them has a place in the net's grid.
        ValueError: the profile's margin does not fit the scale of the net's classifier.
    """
    profile = _settings_for(net, profile)
    steps = steps or profile.transfer_steps
    check_named(dataset)
    new = with_new_classifier(net, dataset.identities, seed)
    faces = faces or new_faces(net, dataset, profile, steps=steps, seed=seed)
    train_on_features(new, faces, profile, steps, seed, embedding_head)
    parts = "classifier and embedding head" if embedding_head else "classifier"
    new.provenance = _provenance(net, dataset, profile, seed, parts, steps)
    return new


def new_faces(
    net: JointNet, dataset: Dataset, profile: Profile, *, steps: int, seed: int = 0
) -> FaceFeatures:
    """Features of a dataset's faces, for trainings of up to so many steps.

    Args:
        net, dataset, profile, seed: see :func:`train_classifier`.
        steps: no more views are taken than they can use: of many photos one may be enough.

    Raises:
        DatasetError: see :func:`train_classifier`.
    """
    profile = _settings_for(net, profile)
    crops = _crops(dataset, profile, seed)
    most = NAMING_VIEWS if net.embedding_source == "landmarks" else MAX_VIEWS
    views = min(most, math.ceil(steps * profile.batch / len(crops)))
    return face_features(net, crops, views, profile.batch)


def learn_names(
    net: JointNet | FaceClassifier,
    crops: Crops,
    profile: Profile,
    seed: int,
    progress: bool = True,
) -> None:
    """Teach names to a net whose recogniser knows faces already, and stays as it is.

    Args:
        net: trained in place, but for its classifier, which is new; left in evaluation mode.
        crops: of the photos of its identities; for a classifier of faces, of faces cut out.
        profile: as for :func:`train_on_features`, and epochs.
        seed: of the order of the faces.
        progress: show a bar.

    Raises:
        DatasetError: no face is left in the crops.
    """
    faces = face_features(net, crops, NAMING_VIEWS, profile.batch, progress)
    steps = profile.epochs * (len(crops) // min(profile.batch, len(crops)))
    train_on_features(net, faces, profile, steps, seed)


def with_new_classifier(net: JointNet, identities: Sequence[str], seed: int) -> JointNet:
    """A copy of a net with an untrained classifier for other identities, where ``net`` is.

    The classifier is of the same kind. On dlib's embeddings it is a plain linear one: between
    strangers they have a cosine of 0.84, of which a normalised one can make little.
    """
    torch.manual_seed(seeds.torch_seed(seed, "new classifier"))
    new = copy.deepcopy(net)
    old = net.classifier
    normalised = old.normalised and net.backbone_name != "dlib"
    new.identities = list(identities)
    new.classifier = IdentityClassifier(
        net.embedding_dim, len(identities), normalised, old.scale if normalised else None
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
    check_named(dataset)
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
    check_named(dataset)
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
    _check_margin(net, profile)
    return dataclasses.replace(profile, input_px=net.input_px)


def _check_margin(net: JointNet | FaceClassifier, profile: Profile) -> None:
    # A new classifier of dlib's embeddings has no scale, see with_new_classifier.
    scale = None if net.backbone_name == "dlib" else net.classifier.scale
    if profile.margin is not None and profile.margin.scale != scale:
        raise ValueError(
            f"the profile's margin needs a classifier of fixed scale {profile.margin.scale}; "
            f"the net's is {scale}"
        )


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
