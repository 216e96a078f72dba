import pytest
import torch

from namprune.data.normalize import Normalize
from namprune.data.resident import Pictures, ResidentImages, resident_data

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def _pictures(count: int, channels: int = 3) -> Pictures:
    """Each is filled with its own number, which is also its label."""
    numbers = torch.arange(count)
    pixels = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(count, 6, 8, channels)
    return Pictures(pixels=pixels, labels=numbers)


def _resident(pictures: Pictures, *, pad: int = 1, flip: bool = True) -> ResidentImages:
    channels = pictures.pixels.shape[-1]
    normalize = Normalize(MEAN[:channels], STD[:channels], device=CPU)
    return ResidentImages(pictures, normalize=normalize, pad=pad, flip=flip, device=CPU)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["shuffled", "ordered"])
def test_batches_are_normalized_and_channels_last(channels: int, order: str) -> None:
    images = _resident(_pictures(10, channels))
    batches = images.shuffled(batch_size=4, seed=0, epoch=0) if order == "shuffled" else images.ordered(batch_size=4)
    pictures, labels = next(batches)
    assert (pictures.shape, pictures.dtype) == ((4, channels, 6, 8), torch.float32)
    assert (labels.shape, labels.dtype) == ((4,), torch.int64)
    assert pictures.stride() == (6 * 8 * channels, 1, 8 * channels, channels)
    # rows 2 to 4, columns 2 to 6 are never padding
    expected = torch.stack([(labels / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)][:channels], dim=1)
    torch.testing.assert_close(
        pictures[:, :, 2:4, 2:6], expected[:, :, None, None].expand(-1, -1, 2, 4), atol=1e-6, rtol=1e-6
    )


def test_ordered_is_every_picture_once_and_not_augmented() -> None:
    pictures = Pictures(pixels=torch.randint(256, (10, 6, 8, 3), dtype=torch.uint8), labels=torch.arange(10) % 3)
    batches = list(_resident(pictures, pad=2).ordered(batch_size=4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([labels for _, labels in batches]), pictures.labels)
    plain = (pictures.pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), plain, atol=1e-6, rtol=1e-6)


def test_shuffled_is_full_batches_without_repeats() -> None:
    batches = list(_resident(_pictures(22)).shuffled(batch_size=4, seed=0, epoch=0))
    assert [len(labels) for _, labels in batches] == [4] * 5
    assert len(torch.cat([labels for _, labels in batches]).unique()) == 20


def test_epochs_are_keyed_by_seed_and_number() -> None:
    images = _resident(_pictures(64))

    def epoch(seed: int, number: int) -> torch.Tensor:
        return torch.cat([x for x, _ in images.shuffled(batch_size=16, seed=seed, epoch=number)])

    torch.manual_seed(1)
    first = epoch(3, 1)
    torch.manual_seed(2)
    assert torch.equal(first, epoch(3, 1))
    assert not torch.equal(first, epoch(3, 2))
    assert not torch.equal(first, epoch(4, 1))
    assert not torch.equal(epoch(1, 3), epoch(3, 1))


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(_resident(_pictures(8)).shuffled(batch_size=4, seed=0, epoch=0))
    assert torch.equal(before, torch.get_rng_state())


def test_digest_feels_a_pixel_a_label_and_the_split() -> None:
    def digest(train: Pictures, val: Pictures) -> str:
        return resident_data(
            label="noise",
            train=train,
            val=val,
            test=val,
            classes=("a", "b"),
            mean=MEAN,
            std=STD,
            pad=0,
            flip=False,
            device=CPU,
        ).digest

    train, val = _pictures(6), _pictures(3)
    pixels, labels = train.pixels.clone(), train.labels.clone()
    pixels[5, 5, 7, 2] += 1
    labels[0] = 1
    digests = [
        digest(train, val),
        digest(Pictures(pixels=pixels, labels=train.labels), val),
        digest(Pictures(pixels=train.pixels, labels=labels), val),
        digest(val, train),
    ]
    assert len(set(digests)) == 4
    assert digest(_pictures(6), _pictures(3)) == digests[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_sees_the_same_batches_without_a_synchronisation() -> None:
    pictures = Pictures(pixels=torch.randint(256, (64, 32, 32, 3), dtype=torch.uint8), labels=torch.arange(64))
    cuda = torch.device("cuda")
    there = ResidentImages(pictures, normalize=Normalize(MEAN, STD, device=cuda), pad=4, flip=True, device=cuda)
    batches = there.shuffled(batch_size=16, seed=0, epoch=0)
    seen = [next(batches)]  # the epoch's draws have moved
    torch.cuda.set_sync_debug_mode("error")
    try:
        seen += list(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (x, y), (x_cpu, y_cpu) in zip(
        seen, _resident(pictures, pad=4).shuffled(batch_size=16, seed=0, epoch=0), strict=True
    ):
        assert torch.equal(x.cpu(), x_cpu)
        assert torch.equal(y.cpu(), y_cpu)
