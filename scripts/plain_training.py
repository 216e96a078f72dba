"""A plain training loop in the style of the published NAM script, to measure ours against. Read by bench_training.py.

After train_cifar100.py of https://github.com/Christian-lyc/NAM: PIL pictures through torchvision's transforms and a
DataLoader, float32, contiguous, SGD tensor by tensor, three `.item()` per step.
"""

import copy
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from namprune.attention import NAM
from namprune.data.cifar import CIFAR10
from namprune.data.resident import Pictures


class PublishedNAM(nn.Module):
    """The channel part as it was published, line by line: https://github.com/Christian-lyc/NAM."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        x = self.bn2(x)
        weight_bn = self.bn2.weight.data.abs() / torch.sum(self.bn2.weight.data.abs())
        x = x.permute(0, 2, 3, 1).contiguous()
        x = torch.mul(weight_bn, x)
        x = x.permute(0, 3, 1, 2).contiguous()
        return torch.sigmoid(x) * residual


class PILImages(Dataset):
    """As torchvision's CIFAR: an array that becomes a PIL picture, its transforms, a tensor; one by one."""

    def __init__(self, pictures: Pictures) -> None:
        self.pixels, self.labels = pictures.pixels.numpy(), pictures.labels.tolist()
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(CIFAR10.mean, CIFAR10.std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def plain_steps(model: nn.Module, loader: DataLoader, device: torch.device) -> Iterator[bool]:
    """Train without end: after each step whether it was its epoch's last, and no more than that after each epoch."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=False, fused=False
    )
    criterion = nn.CrossEntropyLoss().to(device)
    model.train()
    while True:
        sums = [0.0, 0.0, 0.0]
        for step, (x, y) in enumerate(loader):
            x, y = x.to(device), y.to(device)
            logits = model(x)
            loss = criterion(logits, y)
            right = logits.topk(5, 1).indices.eq(y[:, None])
            measured = (loss, right[:, :1].sum(), right.sum())
            sums = [total + value.item() for total, value in zip(sums, measured, strict=True)]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield step + 1 == len(loader)
        yield False


def published(model: nn.Module) -> nn.Module:
    """A copy in the published layout, with the published NAM in the place of ours."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for name, module in list(model.named_modules()):
        if isinstance(module, NAM):
            parent, _, child = name.rpartition(".")
            setattr(
                model.get_submodule(parent), child, PublishedNAM(module.channels).to(next(model.parameters()).device)
            )
    return model
