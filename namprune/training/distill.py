"""Knowledge distillation (Hinton et al., 2015), https://arxiv.org/abs/1503.02531."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A teacher, which is in eval mode and learns nothing, and how much it says.

        loss = (1 - weight) * task + weight * T² * KL(softmax(teacher / T) || softmax(student / T))

    T² keeps the size of the gradient when the temperature T changes.
    """

    teacher: nn.Module
    weight: float
    temperature: float

    def blended(self, task: Tensor, logits: Tensor, x: Tensor) -> Tensor:
        """The loss of a batch `x` (N, C, H, W) with the student's logits (N, classes) and its mean task loss."""
        with torch.no_grad():
            taught = self.teacher(x).float()  # (N, classes)
        student, teacher = (F.log_softmax(given / self.temperature, 1) for given in (logits, taught))
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return (1 - self.weight) * task + self.weight * self.temperature**2 * divergence
