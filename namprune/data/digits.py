"""1,797 scans of handwritten digits, 8x8, that come with scikit-learn (Alpaydin and Kaynak 1998, UCI)."""

import torch

from namprune.data.images import Data
from namprune.data.resident import Pictures, resident_data
from namprune.data.split import hold_out, limited
from namprune.errors import DataError
from namprune.recipe.data import DataSection

MEAN, STD = (0.3053,), (0.3759,)
"""Of all 1,797 pictures, brightness in [0, 1]."""

TEST_FRACTION = 0.2


def build_digits(section: DataSection, *, device: torch.device) -> Data:
    """Grey pictures of shape (1, 8, 8); a fixed fifth of them is the test set.

    Raises:
        DataError: a root folder was given, which these pictures do not come from.
    """
    if section.root is not None:
        raise DataError(
            f"data.root {section.root}: digits come with scikit-learn and are not read from a folder",
            hint="leave the folder out, or name the data set that it holds (data.name)",
        )
    pictures = _read()
    classes = tuple("0123456789")
    kept, held = hold_out(pictures.labels, fraction=TEST_FRACTION, classes=classes, purpose="test")
    train, test = (
        part.take(limited(part.labels, section.limit)) for part in (pictures.take(kept), pictures.take(held))
    )
    kept, held = hold_out(train.labels, fraction=section.val_fraction, classes=classes, purpose="val")
    return resident_data(
        train=train.take(kept),
        val=train.take(held),
        test=test,
        label="digits",
        classes=classes,
        mean=MEAN,
        std=STD,
        pad=section.pad,
        flip=section.flip,
        device=device,
    )


def _read() -> Pictures:
    from sklearn.datasets import load_digits

    scans = load_digits()
    pixels = torch.from_numpy(scans.images * (255 / 16)).round().to(torch.uint8)  # stored as 0..16
    return Pictures(pixels=pixels[..., None], labels=torch.from_numpy(scans.target).long())
