"""The processes of one training, each with a device and a part of every batch of its own.

All run the same program and say the same things to each other in the same order. A process that has joined no group
is a group of one, in which nothing of this costs anything.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

Forward: TypeAlias = Callable[[Tensor], Tensor]
"""What computes a network."""

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: one may be fetching the pictures, or saving."""


def size() -> int:
    """Number of processes in the group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number in the group; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined() -> Iterator[None]:
    """Until it is left, one of the processes that torchrun started: NCCL between GPUs, Gloo for all else.

    Between processors there is always Gloo, so that what they agree on waits for no GPU.
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """Go on alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def dismiss() -> None:
    """Go on alone, the first process; the others end here, and well."""
    if rank() > 0:
        leave()
        sys.exit(0)
    leave()


def own(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs that with its number on this machine."""
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if size() > 1 and device.type == "cuda" else device


def share(count: int) -> int:
    """Of what all processes on this machine have together, at least 1."""
    return max(1, count // int(os.environ["LOCAL_WORLD_SIZE"])) if size() > 1 else count


def largest(number: int) -> int:
    """Of the numbers that the processes give."""
    if size() == 1:
        return number
    place = torch.tensor(number)
    dist.all_reduce(place, dist.ReduceOp.MAX)
    return int(place)


def wait() -> None:
    """Go on when all are here."""
    largest(0)


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through it before the others: what it fetches is there for them."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes, in the place of `tensor`."""
    if size() > 1:
        dist.all_reduce(tensor)
    return tensor


def gathered(tensor: Tensor) -> Tensor:
    """The tensors of all processes, which have one shape, along a new first dimension."""
    places = tensor.new_empty(size() * len(tensor), *tensor.shape[1:])
    dist.all_gather_into_tensor(places, tensor)
    return places.view(size(), *tensor.shape)


@torch.no_grad()
def take_buffers(model: nn.Module) -> None:
    """Give all processes the running statistics of the first."""
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point() and buffer.numel()]
    if size() > 1 and buffers:
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.broadcast(flat, 0)
        parts = torch.split(flat, [buffer.numel() for buffer in buffers])
        torch._foreach_copy_(buffers, [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)])


def replicated(network: Forward) -> Forward:
    """The network with gradients that are the mean over all processes; they begin with the weights of the first."""
    if size() == 1:
        return network
    assert isinstance(network, nn.Module)  # noqa: S101 - compiled ones are, too
    # It takes the strides of a 1x1 convolution's gradient in channels_last for other ones.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    replica = DistributedDataParallel(network, gradient_as_bucket_view=True)
    replica.broadcast_buffers = False  # at every step; `take_buffers`, when the statistics are read, is enough
    return replica


def alone(network: Forward) -> AbstractContextManager[None]:
    """Within it the gradients of a replicated network add up in each process; the next pass outside shares them."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
