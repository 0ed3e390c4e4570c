"""JointNet: one convolutional network from a photo to boxes, embeddings and identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou, roi_align

from thesislib.data.transforms import PADDING, scale_factors, scaled_photo, scaled_sizes
from thesislib.faces import Face, check_score_threshold
from thesislib.models.anchors import assign
from thesislib.models.backbone import Normalise, feature_channels, feature_map, make_backbone
from thesislib.models.chips import PASSES, Refiner, sample_patches, shrunken, stacked, stacked_size
from thesislib.models.decode import decode
from thesislib.models.dlib_resnet import (
    EMBEDDING_DIM,
    FACE_LAYERS,
    LEARNING_SHARE,
    TRUNK,
    dlib_stages,
)
from thesislib.models.heads import (
    NOBODY,
    IdentityClassifier,
    check_identities,
    full_precision,
)
from thesislib.models.pyramid import STRIDES, Pyramid, decode_places, decode_pyramid, places
from thesislib.models.same_face import one_per_face

if TYPE_CHECKING:
    from thesislib.data.schema import Dataset
    from thesislib.engine.predict import Photo, Photos

EMBEDDING_SOURCES = ("grid", "roi", "landmarks")
CPU_BATCH = 4  # photos; memory for more at a time costs more than it saves
ROI_BINS = 3  # a region is read at 3 x 3 places and averaged: faces cover two to four cells a side


class HeadOutputs(NamedTuple):
    """Raw outputs of the heads for N photos."""

    # float [N, A, 5, rows, columns]: four regression targets and the confidence logit;
    # "landmarks": float [N, P, 15], those of the P places of a pyramid, and five landmarks
    regression: torch.Tensor
    # What embeddings are read from. "grid": embeddings float [N, E, A, rows, columns];
    # "roi": the feature map float [N, C, H / stride, W / stride]; "landmarks": such maps of the
    # photo at several sizes, see chips.stacked.
    source: torch.Tensor


class JointNet(nn.Module):
    """Detects and identifies faces in one pass (the thesis, chapter on the joint model).

    Called with a batch it gives the raw :class:`HeadOutputs`; :class:`thesislib.models.loss.
    JointLoss` trains from them, :meth:`detect` decodes them, :meth:`predict` takes photos.

    Args:
        identities: names, in the classifier's order.
        anchors: float [A, 2], width and height in pixels of the network's input.
        input_px: shorter side that photos are scaled to, in pixels.
        backbone: a name in ``backbone.BACKBONES``.
        weights: None or ``"imagenet"``.
        stride: of the feature map, see :func:`thesislib.models.backbone.make_backbone`.
        pooling: average pooling of the feature map, k x k; a cell is stride x k pixels. The
            thesis's 5 x 5 grid at 320 pixels is k = 2; k = 1 is no pooling.
        embedding_dim: length of an embedding.
        normalised, scale: of the classifier, see :class:`IdentityClassifier`.
        embedding_source: where a face's embedding is read: ``"grid"``, the thesis's, at the cell
            that holds the face's centre; ``"roi"``, the feature map averaged under the face's
            box, the annotated one in training and the detected one in use (RoI align, He et al.
            2017, section 3; in joint networks for person search: Xiao et al. 2017);
            ``"landmarks"``, the map turned and scaled as the face's landmarks lie, see
            :func:`thesislib.models.chips.sample_patches`, which needs the backbone ``"dlib"``.

    Attributes:
        cell: side of a cell in pixels.
        provenance: of a net that was trained or loaded: how it was trained, see
            :func:`thesislib.engine.checkpoint.save_net`; else None.

    Raises:
        ValueError: no identities, a name in them twice, or an unknown backbone or source.
    """

    anchors: torch.Tensor
    backbone: Any  # modules by the names of their stages
    regression_head: nn.Module
    embedding_head: nn.Module
    nms_iou = 0.5
    max_detections = 100

    def __init__(
        self,
        identities: Sequence[str],
        anchors: np.ndarray | torch.Tensor | Sequence,
        input_px: int = 320,
        backbone: str = "resnet34",
        weights: str | None = None,
        stride: int = 32,
        pooling: int = 2,
        embedding_dim: int = 512,
        normalised: bool = False,
        scale: float | None = None,
        embedding_source: str = "grid",
    ) -> None:
        super().__init__()
        check_identities(identities)
        if embedding_source not in EMBEDDING_SOURCES:
            raise ValueError(
                f"embedding_source={embedding_source!r} is unknown; choose one of "
                f"{', '.join(EMBEDDING_SOURCES)}"
            )
        self.identities = list(identities)
        self.input_px = input_px
        self.stride, self.pooling, self.cell = stride, pooling, stride * pooling
        self.embedding_dim = embedding_dim
        self.embedding_source = embedding_source
        self.provenance: dict | None = None
        sizes = torch.as_tensor(anchors, dtype=torch.float32).reshape(-1, 2)
        self.register_buffer("anchors", sizes)
        self.normalise = Normalise.of(backbone)
        self.backbone_name = backbone
        if embedding_source == "landmarks":
            self._build_pyramid()
        else:
            self._build_grid(weights)
        self.classifier = IdentityClassifier(embedding_dim, len(identities), normalised, scale)
        if embedding_source != "landmarks":
            self._doubt_each_anchor()

    def _build_grid(self, weights: str | None) -> None:
        """The thesis's: heads of one convolution on one map."""
        self.backbone = make_backbone(self.backbone_name, weights, self.stride)
        self.pool = nn.AvgPool2d(self.pooling) if self.pooling > 1 else nn.Identity()
        channels = feature_channels(self.backbone_name, self.stride)
        count = len(self.anchors)
        self.regression_head = nn.Conv2d(channels, count * 5, kernel_size=1)
        # What is read under a box does not depend on the anchor that found it.
        copies = count if self.embedding_source == "grid" else 1
        self.embedding_head = nn.Conv2d(channels, copies * self.embedding_dim, kernel_size=1)

    def _doubt_each_anchor(self) -> None:
        """Faces are rare among anchors (focal loss, Lin et al. 2017, section 3.3)."""
        head: Any = self.regression_head
        nn.init.normal_(head.weight, std=0.01)
        bias = torch.zeros(len(self.anchors), 5)
        bias[:, 4] = -3.0
        head.bias = nn.Parameter(bias.flatten())

    def _build_pyramid(self) -> None:
        """dlib's recogniser, its first stages over the photo and the others per face."""
        wanted = {"backbone": "dlib", "stride": 4, "pooling": 1, "anchors": 0}
        wanted["embedding_dim"] = EMBEDDING_DIM
        found = {
            "backbone": self.backbone_name,
            "stride": self.stride,
            "pooling": self.pooling,
            "anchors": len(self.anchors),
            "embedding_dim": self.embedding_dim,
        }
        for name, value in wanted.items():
            if found[name] != value:
                raise ValueError(
                    f"embedding_source='landmarks' needs {name}={value!r}, not {found[name]!r}"
                )
        self.cell = STRIDES[-1]
        self.backbone = dlib_stages(TRUNK, padded=True)
        self.pool = nn.Identity()
        self.regression_head = Pyramid()
        self.refiner = Refiner()
        self.embedding_head = dlib_stages(FACE_LAYERS, padded=False)
        for stages in (self.backbone, self.embedding_head):
            stages.learning_share = LEARNING_SHARE

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that build this net again, but for the identities; plain JSON values."""
        return {
            "anchors": self.anchors.tolist(),
            "input_px": self.input_px,
            "backbone": self.backbone_name,
            "stride": self.stride,
            "pooling": self.pooling,
            "embedding_dim": self.embedding_dim,
            "normalised": self.classifier.normalised,
            "scale": self.classifier.scale,
            "embedding_source": self.embedding_source,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of settings and weights: tells the embeddings of this net from all others."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith("classifier."):  # who is known does not change an embedding
                digest.update(name.encode())
                digest.update(
                    value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                )
        return digest.hexdigest()

    @property
    def gallery_threshold(self) -> float | None:
        """Cosine from which a gallery takes two faces for one person, if the net has one."""
        return (self.provenance or {}).get("gallery_threshold")

    @property
    def answers_key(self) -> str:
        """SHA-256 of all that an answer depends on: the fingerprint, the classifier and names."""
        digest = hashlib.sha256(json.dumps([self.fingerprint, self.identities]).encode())
        for value in self.classifier.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.anchors.device

    # --- the network --------------------------------------------------------------------------

    def forward(self, photos: torch.Tensor) -> HeadOutputs:
        """Raw outputs for photos uint8 (0..255) or float (0..1) [N, 3, H, W] at the input's scale.

        The right and the lower edge are padded to whole cells.
        """
        if self.embedding_source == "landmarks":
            sizes = shrunken(self.normalise(self._whole_cells(photos)))
            maps = [feature_map(self.backbone, one) for one in sizes]
            found = self.regression_head(maps[0], maps[2], maps[4])  # the photo, its half, quarter
            return HeadOutputs(found.float(), stacked(maps).float())
        features = self.features(photos)
        with full_precision(self.pool(features)) as pooled:  # [N, C, rows, columns]
            regression = self.regression_head(pooled).unflatten(1, (-1, 5))
            if self.embedding_source == "roi":
                return HeadOutputs(regression, features.float())
            # [N, A*E, rows, columns] -> [N, A, E, ...] -> [N, E, A, ...]
            embeddings = self.embedding_head(pooled).unflatten(1, (-1, self.embedding_dim))
        return HeadOutputs(regression, embeddings.transpose(1, 2))

    def features(self, photos: torch.Tensor) -> torch.Tensor:
        """Feature map float [N, C, H / stride, W / stride] of photos padded to whole cells."""
        return feature_map(self.backbone, self.normalise(self._whole_cells(photos)))

    def _whole_cells(self, photos: torch.Tensor) -> torch.Tensor:
        rows, columns = (-side % self.cell for side in photos.shape[-2:])
        fill = PADDING / 255 if photos.is_floating_point() else PADDING
        return F.pad(photos, (0, columns, 0, rows), value=fill)

    def embed(
        self,
        source: torch.Tensor,
        photo: torch.Tensor,
        place: torch.Tensor,
        boxes: torch.Tensor,
        landmarks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embeddings of some faces, not normalised.

        Args:
            source: of the :class:`HeadOutputs`.
            photo: int64 [F], the photo of each face.
            place: int64 [F], index into the A x rows x columns places; read by ``"grid"`` alone.
            boxes: float [F, 4], pixels of the network's input; read by ``"roi"`` alone.
            landmarks: float [F, 5, 2], likewise; read by ``"landmarks"`` alone.

        Returns:
            float [F, E].
        """
        if landmarks is not None:
            return self.embedding_head(sample_patches(source, photo, landmarks)).float()
        if self.embedding_source == "grid":
            return source.flatten(2).transpose(1, 2)[photo, place]
        with full_precision(source):
            return self.embedding_head(self.region_features(source, photo, boxes)).flatten(1)

    def refined(
        self, source: torch.Tensor, photo: torch.Tensor, landmarks: torch.Tensor
    ) -> torch.Tensor:
        """Landmarks float [F, 5, 2] as the heads tell them, to better ones; see :meth:`embed`."""
        for _ in range(PASSES):
            landmarks = self.refiner(source, photo, landmarks)
        return landmarks

    def region_features(
        self, features: torch.Tensor, photo: torch.Tensor, boxes: torch.Tensor
    ) -> torch.Tensor:
        """Mean of a feature map [N, C, h, w] under boxes [F, 4] of photos [F]: [F, C, 1, 1]."""
        with full_precision(features) as features:
            regions = torch.cat(
                [photo[:, None].to(features.dtype), boxes.to(features.dtype)], dim=1
            )
            bins = roi_align(features, regions, ROI_BINS, 1 / self.stride, 2, aligned=True)
            return bins.mean(dim=(2, 3), keepdim=True)

    # --- faces in a batch ---------------------------------------------------------------------

    def faces(
        self, outputs: HeadOutputs, size: tuple[int, int], score_threshold: float | torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Decode, read and name the faces of a batch.

        Args:
            outputs: of :meth:`forward`.
            size: height and width of the photos without padding, in pixels.
            score_threshold: detections with scores up to this one are dropped.

        Returns:
            for all D faces, by photo, highest score first: ``photo`` int64 [D], ``boxes`` float
            [D, 4] pixels of the network's input, ``scores`` float [D], ``identities`` int64 [D],
            ``identity_scores`` float [D] (softmax), ``embeddings`` float [D, E], L2-normalised,
            and from a net that finds them ``landmarks`` float [D, 5, 2] pixels likewise.
        """
        limits = (score_threshold, self.nms_iou, self.max_detections)
        if self.embedding_source == "landmarks":
            found = decode_pyramid(outputs.regression, size, *limits)
            assert found.landmarks is not None
            better = self.refined(outputs.source, found.photo, found.landmarks)
            found = one_per_face(found._replace(landmarks=better))
        else:
            found = decode(outputs.regression, self.anchors, self.cell, size, *limits)
        # Only detections that are kept are embedded and named.
        vectors = self.embed(outputs.source, *found[:3], found.landmarks)
        best, identities = self.classifier.at(vectors).softmax(dim=1).max(dim=1)
        if tuple(self.identities) == NOBODY:
            best = torch.zeros_like(best)
        embeddings = F.normalize(vectors, dim=1)
        answer = (found.photo, found.boxes, found.scores, identities, best, embeddings)
        return answer if found.landmarks is None else (*answer, found.landmarks)

    @torch.inference_mode()
    def detect(self, photos: torch.Tensor, score_threshold: float = 0.05) -> list[dict]:
        """Find and identify faces in a batch.

        Args:
            photos: uint8 or float [N, 3, H, W] at the network's input scale.
            score_threshold: detections with scores up to this one are dropped.

        Returns:
            one dict per photo, highest score first: ``boxes`` float [D, 4] pixels within the photo,
            ``scores`` float [D], ``identities`` int64 [D] (index into ``self.identities``),
            ``identity_scores`` float [D], ``embeddings`` float [D, E], L2-normalised; from a net
            that finds them ``landmarks`` float [D, 5, 2] pixels.
        """
        photo, *values = self.faces(
            self(photos), (photos.shape[-2], photos.shape[-1]), score_threshold
        )
        names = ("boxes", "scores", "identities", "identity_scores", "embeddings", "landmarks")
        return [
            {name: value[photo == at] for name, value in zip(names, values, strict=False)}
            for at in range(len(photos))
        ]

    @torch.inference_mode()
    def embed_at(self, photos: torch.Tensor, boxes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings read where given boxes lie.

        Args:
            photos: uint8 or float [N, 3, H, W] at the network's input scale.
            boxes: per photo float [F, 4] pixels of it.

        Returns:
            per photo float [F, E], not normalised; NaN where the grid has no place for a face.
        """
        outputs = self(photos)
        if self.embedding_source == "landmarks":
            of_face, landmarks = self.landmarks_at(outputs, boxes)
            vectors = self.embed(outputs.source, of_face, of_face, landmarks, landmarks)
            return list(vectors.split([len(faces) for faces in boxes]))
        grid = outputs.regression.shape[-2:]
        found = []
        for photo, faces in enumerate(boxes):
            place = assign(faces, self.anchors, grid, self.cell).to(self.device)
            placed = place >= 0
            vectors = torch.full((len(faces), self.embedding_dim), torch.nan, device=self.device)
            of_photo = torch.full_like(place[placed], photo)
            vectors[placed] = self.embed(
                outputs.source, of_photo, place[placed], faces.to(self.device)[placed]
            ).float()
            found.append(vectors)
        return found

    def landmarks_at(
        self, outputs: HeadOutputs, boxes: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Landmarks of faces at boxes float [F, 4] of each photo, in pixels of the network's input:
        of the place whose box fits best, refined.

        Returns:
            of all faces, photo by photo: the photo int64 [D], and landmarks float [D, 5, 2].
        """
        size = stacked_size(outputs.source)
        found, points = decode_places(outputs.regression, places(size, self.device))
        photos, told = [], []
        for number, faces in enumerate(boxes):
            fit = box_iou(faces.to(self.device), found[number])
            # Of two that fit alike, the surer.
            best = (fit * outputs.regression[number, :, 4].sigmoid()).argmax(dim=1)
            photos.append(torch.full_like(best, number))
            told.append(points[number][best])
        of_face = torch.cat(photos)
        return of_face, self.refined(outputs.source, of_face, torch.cat(told))

    # --- photos -------------------------------------------------------------------------------

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, in this process; see :meth:`predict`.

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes.
            score_threshold: detections with scores up to this one are dropped; 0 to 1.

        Raises:
            ValueError: a threshold out of range, an array that is no photo, or a photo so long and
                narrow that it cannot be scaled.
        """
        check_score_threshold(score_threshold)
        self.eval()
        answers: list[list[Face]] = [[] for _ in photos]
        for size, members in self._batches(photos):
            scaled = self._scaled([photos[at] for at in members])
            for at, found in zip(members, self.detect(scaled, score_threshold), strict=True):
                answers[at] = self._as_faces(found, scale_factors(photos[at], size))
        return answers

    def _batches(self, photos: Sequence[np.ndarray]) -> Iterator[tuple[Any, list[int]]]:
        """A size at the input's scale, and the places of some photos that have it."""
        sizes = scaled_sizes(photos, self.input_px)
        of_size = {size: [at for at, one in enumerate(sizes) if one == size] for size in sizes}
        most = CPU_BATCH if self.device.type == "cpu" else max(1, len(photos))
        for size, members in of_size.items():
            yield from ((size, members[at : at + most]) for at in range(0, len(members), most))

    def _scaled(self, photos: Sequence[np.ndarray]) -> torch.Tensor:
        """Photos of one size at the input's scale, uint8 [N, 3, h, w]."""
        return torch.stack([scaled_photo(one, self.input_px, self.device) for one in photos])

    def _as_faces(self, found: dict[str, torch.Tensor], factors: np.ndarray) -> list[Face]:
        boxes = found["boxes"].float().cpu().numpy() * factors
        scores, name_scores = (found[n].float().tolist() for n in ("scores", "identity_scores"))
        names = [self.identities[at] for at in found["identities"].tolist()]
        embeddings = found["embeddings"].float().cpu().numpy()
        landmarks: list | np.ndarray = [None] * len(boxes)
        if "landmarks" in found:
            landmarks = found["landmarks"].float().cpu().numpy() * factors[:2]
        rows = zip(boxes, scores, names, name_scores, embeddings, landmarks, strict=True)
        return [Face(*row) for row in rows]

    @torch.inference_mode()
    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Embeddings of decoded photos' faces at given boxes, not normalised.

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes.
            boxes: per photo float [F, 4], pixels of it.

        Returns:
            per photo float32 [F, E]; NaN where the grid has no place for a face.
        """
        self.eval()
        answers: list[np.ndarray] = [np.empty(0)] * len(photos)
        for size, members in self._batches(photos):
            scaled = self._scaled([photos[at] for at in members])
            within = [
                torch.from_numpy(boxes[at] / scale_factors(photos[at], size)).float()
                for at in members
            ]
            for at, vectors in zip(members, self.embed_at(scaled, within), strict=True):
                answers[at] = vectors.cpu().numpy()
        return answers

    @torch.inference_mode()
    def identify_boxes(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[list[str]]:
        """Identities of decoded photos' faces at given boxes (oracle boxes).

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes.
            boxes: per photo float [F, 4], pixels of it.

        Returns:
            per photo F names, "" where the grid has no place for a face.
        """
        answers = []
        for vectors in self.embeddings_at(photos, boxes):
            placed = ~np.isnan(vectors).any(axis=1)
            names = np.full(len(vectors), "", dtype=object)
            logits = self.classifier.at(torch.from_numpy(vectors[placed]).to(self.device))
            names[placed] = [self.identities[at] for at in logits.argmax(dim=1).tolist()]
            answers.append(names.tolist())
        return answers

    # --- the front door: what these do is written in the packages above this one ---------------

    def predict(
        self,
        photos: Photos,
        score_threshold: float = 0.5,
        out: Path | str | None = None,
        progress: bool = False,
    ) -> list:
        """Faces of photos; see :func:`thesislib.engine.predict.predict`."""
        from thesislib.engine.predict import predict

        return predict(self, photos, score_threshold, out=out, progress=progress)

    def save(self, path: Path | str) -> None:
        """Write the net to one file; see :func:`thesislib.engine.checkpoint.save_net`."""
        from thesislib.engine.checkpoint import save_net

        save_net(path, self)

    def export(
        self,
        folder: Path | str,
        calibration: Sequence[Photo] = (),
        check: Dataset | None = None,
    ) -> dict:
        """Write the net for other runtimes; see :func:`thesislib.deploy.export.export`."""
        from thesislib.deploy.export import export

        return export(self, folder, calibration, check)
