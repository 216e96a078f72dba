"""mixup, https://arxiv.org/abs/1710.09412, and CutMix, https://arxiv.org/abs/1905.04899, of training batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from namprune.data.images import WHOLE, Batch, Images, Part
from namprune.data.seeded import seeded


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """The batches of `images`, each picture x with the one before it in the batch, and so their one-hot labels y.

        mixup:  s x + (1 - s) x.roll(1),  s y + (1 - s) y.roll(1)
        CutMix: x with a rectangle of x.roll(1), which takes 1 - s of the area; y as above

    with s ~ Beta(α, α) for a whole batch. Of two α above 0 one is drawn for each batch, which depends on (seed, epoch)
    and its number alone; its pictures are mixed with those of the same part.
    """

    images: Images
    classes: int
    mixup: float
    cutmix: float

    def __len__(self) -> int:
        return len(self.images)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """As `Images.shuffled`, with soft labels, float32 (N, classes)."""
        from torchvision.transforms import v2

        kinds = ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix))
        ways = [kind(alpha=float(alpha), num_classes=self.classes) for kind, alpha in kinds if alpha]
        batches = self.images.shuffled(batch_size=batch_size, seed=seed, epoch=epoch, start=start, part=part)
        for number, (x, y) in enumerate(batches, start):
            with seeded("mix", seed, epoch, number):
                way = ways[int(torch.randint(len(ways), ()))]
                mixed: Batch = way(x, y)
            yield mixed

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        """As `Images.ordered`, unmixed."""
        return self.images.ordered(batch_size=batch_size)
