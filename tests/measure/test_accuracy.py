import numpy as np
import pytest
import torch
from torch import Tensor, nn

from namprune.measure import accuracy


def plain(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Top-1, top-5 and mean cross-entropy, picture by picture."""
    ranks = [(row > row[label]).sum() for row, label in zip(logits, labels, strict=True)]
    losses = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)]
    return float(np.mean(np.equal(ranks, 0))), float(np.mean(np.less(ranks, 5))), float(np.mean(losses))


def network(classes: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(2 * 3 * 3, classes))


def batches(classes: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    sizes = (16, 16, 5)  # the last one is smaller
    return [(torch.randn(size, 2, 3, 3), torch.randint(classes, (size,))) for size in sizes]


@pytest.mark.parametrize("classes", [12, 3])
def test_equals_a_plain_computation(classes) -> None:
    model = network(classes).eval()
    x, y = (torch.cat(parts) for parts in zip(*batches(classes), strict=True))
    with torch.inference_mode():
        logits = model(x).double().numpy()
    top1, top5, loss = plain(logits, y.numpy())

    found = accuracy(model.train(), batches(classes))

    assert found.images == 37
    assert found.top1 == pytest.approx(top1)
    assert found.top5 == pytest.approx(top5)
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert 0 < found.top1 < found.top5
    assert (found.top5 == 1.0) == (classes == 3)


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_statistics_stay(training) -> None:
    model = network(4).train(training)
    accuracy(model, batches(4))
    assert {module.training for module in model.modules()} == {training}
    assert model[0].num_batches_tracked == 0
    model(batches(4)[0][0]).sum().backward()  # no inference tensor is left inside


def test_bf16_is_computed_in_bf16() -> None:
    seen = []
    model = network(4)
    model[-1].register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    exact, rounded = accuracy(model, batches(4)), accuracy(model, batches(4), precision="bf16")
    assert seen == [torch.float32] * 3 + [torch.bfloat16] * 3
    assert rounded.loss == pytest.approx(exact.loss, rel=0.01)
