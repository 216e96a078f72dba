"""What of a training picture is shown, drawn anew in each epoch from the picture as it is in its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image
from torch import nn

from namprune.choices import Augment, Crop
from namprune.data.folder import Show
from namprune.data.seeded import seeded


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """A square of `side` pixels, by torchvision's transforms.

    With `crop: resized` it is a part of the picture: of its area a share in [`least`, 1], with an aspect ratio between
    3/4 and 4/3 (RandomResizedCrop); else its centre. `randaugment` makes two changes of magnitude 9 of 30.
    """

    side: int
    crop: Crop
    least: float
    augment: Augment

    def drawn(self, numbers: Sequence[int], seed: int, epoch: int) -> Show:
        """The views of the pictures `numbers` in an epoch: the same ones whoever draws them, and after whatever."""

        def show(i: int, picture: Image.Image) -> Image.Image:
            with seeded("view", seed, epoch, numbers[i]):
                view: Image.Image = self._transform(picture)
            return view

        return show

    @cached_property
    def _transform(self) -> nn.Module:
        from torchvision.transforms import v2

        if self.crop == "resized":
            shown = [v2.RandomResizedCrop(self.side, scale=(self.least, 1.0), antialias=True)]
        else:
            shown = [v2.Resize([self.side], antialias=True), v2.CenterCrop(self.side)]
        # bilinear, as in torchvision's own training: its default moves whole pixels
        changes = [v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR)] if self.augment != "none" else []
        transform: nn.Module = v2.Compose([*shown, *changes])
        return transform
