"""Accuracy and loss over batches, summed on the device and read once."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune import console
from namprune.choices import Precision
from namprune.data.images import Images
from namprune.device import autocast
from namprune.distributed import rank, size, summed
from namprune.result import Accuracy
from namprune.signals import at_once, poll

EVAL_BATCH = 512
"""Pictures that are looked at together where nothing is learnt from them."""


def split_accuracy(
    model: nn.Module,
    images: Images,
    description: str,
    *,
    precision: Precision = "fp32",
    shared: bool = False,
) -> Accuracy:
    """`accuracy` on all pictures of a split, with a bar of this description where it takes a moment."""
    batches = images.ordered(batch_size=EVAL_BATCH)
    with console.watched(batches, math.ceil(len(images) / EVAL_BATCH), description) as steps:
        return accuracy(model, steps, precision=precision, shared=shared)


@torch.inference_mode()
def accuracy(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, precision: Precision = "fp32", shared: bool = False
) -> Accuracy:
    """Top-1, top-5 and mean cross-entropy of a network in eval mode; its mode is restored.

    With fewer than five classes top-5 is over all of them. Where it is `shared`, each process of a group takes its
    part of the batches, and all have the result.
    """
    processes = size() if shared else 1
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    images = 0
    sums = torch.zeros(3, device=device)  # top-1, top-5, loss
    with at_once() if processes == 1 else nullcontext():  # several end together, between two steps
        for x, y in islice(batches, rank() % processes, None, processes):
            if processes == 1:
                poll()
            with autocast(precision, device):
                logits = model(x).float()  # (N, classes)
            hits = logits.topk(min(5, logits.shape[1])).indices == y[:, None]  # (N, 5)
            loss = F.cross_entropy(logits, y, reduction="sum")
            sums += torch.stack([hits[:, 0].sum(), hits.sum(), loss])
            images += len(y)
    model.train(training)
    if processes > 1:
        sums, images = summed(sums), int(summed(torch.tensor(images)))
    top1, top5, loss_sum = (sums / images).tolist()
    return Accuracy(top1=top1, top5=top5, loss=loss_sum, images=images)
