"""A net over many photos at a time: what it finds in them, and its embeddings of given faces."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from thesislib.baselines.two_stage import FACE_MARGIN
from thesislib.data.images import read_photo
from thesislib.data.loading import Photo
from thesislib.data.schema import Dataset
from thesislib.data.transforms import cut_face, resize, scaled_size
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

BATCH = 64


def _batches(photos: Sequence[Photo], input_px: int) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Photos that have one size at the network's scale: at most ``BATCH`` of them, and the size."""
    same = defaultdict(list)
    for at, photo in enumerate(photos):
        same[scaled_size(*photo.size[::-1], input_px)].append(at)
    for size, places in same.items():
        for start in range(0, len(places), BATCH):
            yield places[start : start + BATCH], size


def _pixels(dataset: Dataset, photo: Photo) -> torch.Tensor:
    return torch.from_numpy(read_photo(dataset.folder / photo.name)).permute(2, 0, 1)


def _factors(photo: Photo, size: tuple[int, int]) -> torch.Tensor:
    """Pixels of the photo for a pixel of the network's input, [4] as a box's corners."""
    return torch.tensor([photo.size[0] / size[1], photo.size[1] / size[0]]).repeat(2)


@torch.inference_mode()
def detect(
    net: JointNet, dataset: Dataset, photos: Sequence[Photo], input_px: int, progress: bool = True
) -> list[dict]:
    """Detections of a joint net in photos.

    Args:
        net: trained; put into evaluation mode.
        dataset: where the photos lie.
        photos: their annotations.
        input_px: shorter side that each is scaled to.
        progress: show a bar.

    Returns:
        one dict a photo: ``boxes`` float32 [D, 4] pixels of the stored photo, ``scores`` float32
        [D] best first, ``identities`` list of D names, ``embeddings`` float32 [D, E] of length 1.
    """
    net.eval()
    found: list[dict] = [{}] * len(photos)
    with tqdm(total=len(photos), desc="detecting", unit="photo", disable=not progress) as bar:
        for places, size in _batches(photos, input_px):
            batch = torch.stack([resize(_pixels(dataset, photos[at]), size) for at in places])
            for at, one in zip(places, net.detect(batch.to(net.anchors.device)), strict=True):
                found[at] = {
                    "boxes": (one["boxes"].cpu() * _factors(photos[at], size)).numpy(),
                    "scores": one["scores"].cpu().numpy(),
                    "identities": [net.identities[who] for who in one["identities"].tolist()],
                    "embeddings": one["embeddings"].cpu().numpy(),
                }
            bar.update(len(places))
    return found


@torch.inference_mode()
def embed(
    net: JointNet | FaceClassifier,
    dataset: Dataset,
    photos: Sequence[Photo],
    input_px: int,
    progress: bool = True,
) -> np.ndarray:
    """Embeddings of all annotated faces, read at their annotated boxes.

    Where the face lies is given, so that what is compared is the embedding alone. A joint net
    reads it in the whole photo; the two-stage pipeline's classifier sees the face cut out and
    tells the layer before its last.

    Args:
        net: put into evaluation mode.
        dataset: where the photos lie.
        photos: their annotations.
        input_px: shorter side that each photo, or side that each face, is scaled to.
        progress: show a bar.

    Returns:
        float32 [F, E], not normalised, the faces of the first photo first; NaN where the net's
        grid has no place for a face.
    """
    net.eval()
    read = _embed_joint if isinstance(net, JointNet) else _embed_cut
    vectors: list[torch.Tensor] = [torch.empty(0)] * len(photos)
    with tqdm(total=len(photos), desc="embedding", unit="photo", disable=not progress) as bar:
        for places, size in _batches(photos, input_px):
            chosen = [photos[at] for at in places]
            for at, faces in zip(places, read(net, dataset, chosen, size, input_px), strict=True):
                vectors[at] = faces.cpu()
            bar.update(len(places))
    return torch.cat(vectors).float().numpy()


def _embed_joint(net, dataset, photos, size, input_px) -> list[torch.Tensor]:
    batch = torch.stack([resize(_pixels(dataset, photo), size) for photo in photos])
    boxes = [photo.boxes / _factors(photo, size) for photo in photos]
    return net.embed_at(batch.to(net.anchors.device), boxes)


def _embed_cut(net, dataset, photos, size, input_px) -> list[torch.Tensor]:
    faces = [
        cut_face(pixels, box.numpy(), input_px, FACE_MARGIN)
        for photo in photos
        for pixels in [_pixels(dataset, photo)]
        for box in photo.boxes
    ]
    device = next(net.parameters()).device
    return net.embed(torch.stack(faces).to(device)).split([len(photo.boxes) for photo in photos])
