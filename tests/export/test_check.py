import pytest
import torch
from torch import nn

from namprune.errors import ProofError
from namprune.export import checked


@pytest.fixture
def model() -> nn.Module:
    """Logits that are the mean of each channel."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_largest_difference_is_found(model) -> None:
    x = torch.rand(3, 2, 4, 4)
    assert checked(model, model, x) == 0
    assert checked(lambda batch: model(batch) + torch.tensor([0.0, -5e-5]), model, x) == pytest.approx(5e-5, rel=0.01)


@pytest.mark.parametrize("fault", [2e-4, torch.nan])
@pytest.mark.parametrize("batch", [1, 3])
def test_too_large_a_difference_is_refused_for_any_batch(model, fault, batch) -> None:
    def run(x):
        return model(x) + (fault if len(x) == batch else 0)

    with pytest.raises(ProofError, match="nothing was written"):
        checked(run, model, torch.rand(3, 2, 4, 4))


def test_large_logits_may_differ_by_their_size(model) -> None:
    x = torch.full((2, 2, 4, 4), 100.0)
    assert checked(lambda batch: model(batch) + 5e-3, model, x) == pytest.approx(5e-3, rel=0.01)
    with pytest.raises(ProofError, match=r"differs from torch by 0\.02"):
        checked(lambda batch: model(batch) + 2e-2, model, x)
