"""What a recipe says of the pictures."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from namprune.choices import Augment, Crop, DataName
from namprune.recipe.section import Section

LEAST_CROP = 0.08


class DataSection(Section):
    """The pictures."""

    name: DataName
    """Data set."""
    root: str | None = None
    """Folder with the files; the default is `data/<name>` under the current folder."""
    download: bool = True
    """Whether CIFAR files that are not there may be fetched from their publisher."""
    limit: Annotated[int, Field(ge=20)] | None = None
    """At most this many pictures of the training set and of the test set, chosen evenly over the classes."""
    val_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the training pictures held out for every choice made during a run."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side in pixels that pictures of a folder are brought to (`imagefolder` only; default 224)."""
    crop: Crop = "pad"
    """What is shown of a training picture: its centre, moved by up to `pad`, or a part of random size and shape,
    brought to `image_size` (`resized`, for `imagefolder` only)."""
    crop_scale: Annotated[float, Field(gt=0, le=1)] = LEAST_CROP
    """Least share of a picture's area that `crop: resized` shows; more where small parts do not tell the class."""
    pad: Annotated[int, Field(ge=0, le=64)] = 4
    """Pixels of zero padding for the random crop of training pictures; 0 = no crop. `crop: resized` takes none."""
    flip: bool = True
    """Whether training pictures are mirrored at random."""
    augment: Augment = "none"
    """What else is done to training pictures: two random changes of shape or colour each (`randaugment`, arXiv
    1909.13719, for `imagefolder` only), or nothing."""

    @model_validator(mode="after")
    def _some_only_for_folders(self) -> Self:
        keys = {"image_size": None, "crop": "pad", "augment": "none"}
        given = [key for key, neutral in keys.items() if getattr(self, key) != neutral]
        if given and self.name != "imagefolder":
            raise ValueError(f"{given[0]} applies to imagefolder only, {self.name} pictures have their own size")
        return self

    @model_validator(mode="after")
    def _scale_only_for_resized(self) -> Self:
        if self.crop_scale != LEAST_CROP and self.crop != "resized":
            raise ValueError("crop_scale belongs to crop: resized")
        return self
