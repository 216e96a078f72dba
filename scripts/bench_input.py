"""Pictures per second into training, ours beside torchvision's PIL pipeline, in one process, in turns.

python scripts/bench_input.py FOLDER_WITH_CIFAR10 [BATCH]
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from namprune.data import build_data
from namprune.recipe.schema import DataSection

ROUNDS, PICTURES = 5, 5_000


def main(root: str, batch: int) -> None:
    torch.set_num_threads(1)
    train = build_data(DataSection(name="cifar10", root=root, limit=10_000), device=torch.device("cpu")).train
    plain = [Image.fromarray(pixels) for pixels in (256 * torch.rand(PICTURES, 32, 32, 3)).byte().numpy()]
    steps = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ]
    )
    dataset = [(picture, 0) for picture in plain]

    def collate(items: list[tuple[Image.Image, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.stack([steps(picture) for picture, _ in items]), torch.tensor([label for _, label in items])

    ways: dict[str, Callable[[], int]] = {
        "namprune": lambda: sum(len(y) for _, y in train.shuffled(batch_size=batch, seed=0, epoch=0)),
        "PIL, DataLoader, no workers": lambda: sum(
            len(y) for _, y in DataLoader(dataset, batch_size=batch, shuffle=True, collate_fn=collate)
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            started = time.perf_counter()
            rates[name].append(run() / (time.perf_counter() - started))
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    for name, rate in medians.items():
        print(f"{name:32} {rate:10,.0f} pictures/s  (batch {batch}, 1 thread, median of {ROUNDS})")
    ours, theirs = medians.values()
    print(f"ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 128)
