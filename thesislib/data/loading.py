"""From photos on disk to training batches: decoded once, randomly cropped, equal in every run."""

import dataclasses
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm.auto import tqdm

from thesislib import seeds
from thesislib.data.columns import BOX, UNKNOWN
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.data.transforms import Augmentation, RandomSquareCrop

# Decoded photos are kept in memory up to this size; a larger dataset is decoded as it is needed.
CACHE_BYTES = 3 * 1024**3
# A face of which a crop shows less than this share of its box is no target in that crop.
MIN_VISIBLE = 0.5


@dataclasses.dataclass(frozen=True)
class Photo:
    """One training photo's annotations.

    Attributes:
        name: its path in the dataset.
        boxes: float32 [F, 4], pixels of the photo on disk; F is 0 where nobody is in it.
        identities: int64 [F], index of each face's identity, or ``UNKNOWN``.
        size: (width, height) in pixels of the photo on disk.
    """

    name: str
    boxes: torch.Tensor
    identities: torch.Tensor
    size: tuple[int, int]


def list_photos(dataset: Dataset, identities: Sequence[str]) -> list[Photo]:
    """Each photo of a dataset once, in file order, with the faces that are annotated in it.

    Args:
        dataset: a checked dataset.
        identities: names by index; a face of anybody else is ``UNKNOWN``.
    """
    index = {identity: at for at, identity in enumerate(identities)}
    photos = []
    for name, rows in dataset.table.groupby("photo", sort=False):
        faces = rows[rows["x1"].notna()]
        photos.append(
            Photo(
                name=str(name),
                boxes=torch.tensor(faces[BOX].to_numpy(np.float32)).reshape(-1, 4),
                identities=torch.tensor(
                    [index.get(identity, UNKNOWN) for identity in faces["identity"]],
                    dtype=torch.int64,
                ),
                size=(int(rows["width"].iloc[0]), int(rows["height"].iloc[0])),
            )
        )
    return photos


class PhotoStore:
    """Photos as uint8 tensors [3, H, W] with at most ``short_side`` pixels on the shorter side.

    Decoded once, by threads, and kept where all together fit ``CACHE_BYTES``; otherwise decoded at
    each access.

    Args:
        dataset: whose photos they are.
        photos: which, from :func:`list_photos`.
        short_side: in pixels; photos are scaled down to it, never up.
        progress: show a bar.

    Raises:
        PhotoError: a photo cannot be read; the message names it.
    """

    def __init__(
        self, dataset: Dataset, photos: Sequence[Photo], short_side: int, progress: bool = True
    ) -> None:
        self.folder = dataset.folder
        self.names = [photo.name for photo in photos]
        self.short_side = short_side
        needed = 0
        for photo in photos:
            scale = min(1.0, short_side / min(photo.size))
            needed += int(3 * photo.size[0] * photo.size[1] * scale**2)
        self.cached = needed <= CACHE_BYTES
        self._photos: list[torch.Tensor] | None = None
        if self.cached:
            with ThreadPoolExecutor() as pool:
                decoded = pool.map(self._decode, self.names)
                bar = tqdm(
                    decoded, total=len(photos), desc="decoding", unit="photo", disable=not progress
                )
                self._photos = list(bar)

    def _decode(self, name: str) -> torch.Tensor:
        array = read_photo(self.folder / name, self.short_side)
        return torch.from_numpy(array).permute(2, 0, 1).contiguous()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, at: int) -> torch.Tensor:
        return self._photos[at] if self._photos is not None else self._decode(self.names[at])


class Crops(TorchDataset):
    """Training crops; item (epoch, index) is always the same crop for the same seed.

    An item is uint8 [3, S, S] and its target: ``boxes`` float32 [F, 4] in pixels of the crop,
    clipped at its edges, ``identities`` int64 [F], and ``photo``, the name. Faces of which less
    than ``MIN_VISIBLE`` is left are no targets.

    Args:
        photos: annotations, one per photo.
        store: the same photos' pixels.
        size: side S of the crops in pixels.
        augmentation: what is varied.
        seed: of the run.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        store: PhotoStore,
        size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.photos = photos
        self.store = store
        self.seed = seed
        strength = augmentation.colour
        self.transform = v2.Compose(
            [
                RandomSquareCrop(size, augmentation.crop_scale),
                v2.RandomHorizontalFlip(augmentation.flip),
                v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength),
            ]
        )

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, dict[str, Any]]:
        epoch, index = key
        photo, pixels = self.photos[index], self.store[index]
        # The store may hold photos smaller than those on disk.
        boxes = photo.boxes * (pixels.shape[2] / photo.size[0])
        # Transforms draw from PyTorch's default generator: lend it this crop's own stream.
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seeds.torch_seed(self.seed, "augment", epoch, index))
        try:
            image, boxes = self.transform(
                tv_tensors.Image(pixels),
                tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(pixels.shape[1:])),
            )
        finally:
            torch.default_generator.set_state(state)
        boxes = boxes.as_subclass(torch.Tensor)
        side = image.shape[-1]
        clipped = boxes.clamp(0, side)
        visible = _area(clipped) / _area(boxes).clamp(min=1e-6)
        keep = visible >= MIN_VISIBLE
        target = {
            "boxes": clipped[keep],
            "identities": photo.identities[keep],
            "photo": photo.name,
        }
        return image.as_subclass(torch.Tensor), target


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index), shuffled in each epoch; an incomplete last batch is dropped.

    The order depends on the seed and the epoch alone, so a run can begin at any step. With
    several processes each takes its part of every global batch.

    Args:
        photos: how many there are.
        batch: how many a step takes, over all processes; at most ``photos``.
        epochs: how often each photo is taken.
        seed: of the run.
        first_step: step to begin at, counted from 0 over all epochs.
        process: index of this process.
        processes: how many there are.
    """

    def __init__(
        self,
        photos: int,
        batch: int,
        epochs: int,
        seed: int,
        first_step: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.photos, self.batch, self.epochs, self.seed = photos, min(batch, photos), epochs, seed
        self.first_step, self.process, self.processes = first_step, process, processes

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.photos // self.batch

    def __len__(self) -> int:
        return self.steps_per_epoch * self.epochs - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first_epoch, first_step = divmod(self.first_step, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            order = seeds.generator(self.seed, "order", epoch).permutation(self.photos)
            for step in range(first_step if epoch == first_epoch else 0, self.steps_per_epoch):
                batch = order[step * self.batch : (step + 1) * self.batch]
                yield [(epoch, int(index)) for index in batch[self.process :: self.processes]]


def collate(
    samples: list[tuple[torch.Tensor, dict[str, Any]]],
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """Stack crops to uint8 [N, 3, S, S]; targets stay a list of dicts."""
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]


def training_batches(
    crops: TorchDataset, sampler: EpochBatches, workers: int = 0, pin: bool = False
) -> Iterator[tuple[torch.Tensor, list[dict[str, Any]]]]:
    """Batches of (photos uint8 [N, 3, S, S], targets) in the sampler's order.

    Args:
        crops: training crops.
        sampler: which crops, in which order.
        workers: processes that make them; with 0 a thread makes the next batch while the current
            one is trained on. That thread sets PyTorch's default generator for each crop, so
            whoever takes batches must not draw from it.
        pin: put batches in pinned memory, which copies to a GPU fastest.
    """
    batches = iter(
        DataLoader(
            crops,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=False,
            worker_init_fn=_leave_interrupts,
        )
    )
    return batches if workers else _one_ahead(batches)


def _leave_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the training process, which wants batches until its step is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, each made by a thread while its predecessor is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
