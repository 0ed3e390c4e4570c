"""From photos on disk to training batches: decoded once, cropped at random, the same every run."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

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
# A face of which a crop shows less than this share of its box is not asked for in that crop.
MIN_VISIBLE = 0.5


@dataclasses.dataclass(frozen=True)
class Photo:
    """One training photo's annotations.

    Attributes:
        name: its path in the dataset.
        boxes: float32 [F, 4], pixels of the stored photo.
        identities: int64 [F], index of the person, or ``UNKNOWN``.
        size: (width, height) in pixels.
    """

    name: str
    boxes: torch.Tensor
    identities: torch.Tensor
    size: tuple[int, int]


def list_photos(dataset: Dataset, identities: Sequence[str]) -> list[Photo]:
    """Each photo of a dataset once, people numbered by their place in ``identities``.

    People who are not in ``identities`` are ``UNKNOWN``.
    """
    number = {identity: at for at, identity in enumerate(identities)}
    photos = []
    for name, rows in dataset.table.groupby("photo", sort=False):
        faces = rows[rows["x1"].notna()]
        photos.append(
            Photo(
                name=name,
                boxes=torch.tensor(faces[BOX].to_numpy(np.float32)).reshape(-1, 4),
                identities=torch.tensor(
                    [number.get(identity, UNKNOWN) for identity in faces["identity"]],
                    dtype=torch.int64,
                ),
                size=(int(rows["width"].iloc[0]), int(rows["height"].iloc[0])),
            )
        )
    return photos


class PhotoStore:
    """Photos as uint8 tensors [3, H, W] with at most ``short_side`` pixels on the shorter side.

    Decoded once, by threads, and kept while they fit ``CACHE_BYTES``; otherwise decoded at each
    access.

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

    Args:
        photos: annotations, one a photo.
        store: the same photos' pixels.
        size: side of the crops in pixels.
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

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, dict]:
        epoch, index = key
        photo, pixels = self.photos[index], self.store[index]
        # Photos may be stored smaller than annotated.
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


class EpochBatches(Sampler):
    """Batches of (epoch, index) from step ``first_step`` on: shuffled per epoch, last one dropped.

    The order depends on the seed and the epoch alone, so a run can begin at any step. With
    several processes each takes its part of every global batch.
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
        return self.photos // self.batch

    def __len__(self) -> int:
        return self.steps_per_epoch * self.epochs - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first_step // self.steps_per_epoch, self.epochs):
            order = seeds.generator(self.seed, "order", epoch).permutation(self.photos)
            start = (
                self.first_step % self.steps_per_epoch
                if epoch == (self.first_step // self.steps_per_epoch)
                else 0
            )
            for step in range(start, self.steps_per_epoch):
                batch = order[step * self.batch : (step + 1) * self.batch]
                yield [(epoch, int(index)) for index in batch[self.process :: self.processes]]


def collate(samples: list) -> tuple[torch.Tensor, list[dict]]:
    """Stack crops to uint8 [N, 3, S, S]; targets stay a list of dicts."""
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]


def training_batches(
    crops: Crops, sampler: EpochBatches, workers: int = 0, pin: bool = False
) -> Iterator[tuple[torch.Tensor, list[dict]]]:
    """Batches of (photos uint8 [N, 3, S, S], targets) in the sampler's order.

    Args:
        crops: training crops.
        sampler: which, in which order.
        workers: processes that make them; with 0 a thread makes the next batch while the one
            before is learned from. PyTorch's default generator is lent to the crops meanwhile:
            who takes batches must not draw from it.
        pin: in memory that a GPU reads fastest.
    """
    batches = iter(
        DataLoader(
            crops,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=False,
        )
    )
    return batches if workers else _one_ahead(batches)


def _one_ahead(batches: Iterator) -> Iterator:
    """The same batches, each made by a thread while its predecessor is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
