import random
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.data.images import Batch
from namprune.errors import UserError
from namprune.training.trial import fastest_forward, forward_of, price_of_determinism

CPU = torch.device("cpu")
compiles = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


class _Dropped(nn.Module):
    """Draws from the global generator, keeps statistics, and can be one that no compiler takes."""

    def __init__(self, *, compilable: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten())
        self.classifier = nn.Linear(8 * 36, 4)
        self.compilable = compilable

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() and not self.compilable:
            x = x.view(-1)[torch.zeros(1, 2, 3)]  # floats are no places: compiling this fails, whatever runs it
        logits: Tensor = self.classifier(self.layers(x))
        return logits


def _batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 4) for _ in range(3)]


def _trained_once(model: nn.Module) -> torch.optim.Optimizer:
    """So that there are statistics, gradients and momenta that could be lost."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = _batches()[0]
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    return optimizer


def _all_bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors[f"{name}.grad"] = parameter.grad.clone()
        tensors[f"{name}.momentum"] = optimizer.state[parameter]["momentum_buffer"].clone()
    return tensors | {"generator": torch.get_rng_state(), "mode": torch.tensor([m.training for m in model.modules()])}


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.slow
@compiles
def test_a_trial_leaves_network_optimizer_and_generators_to_the_bit() -> None:
    torch.manual_seed(0)
    model = _Dropped()
    optimizer = _trained_once(model)
    model.layers[1].eval()
    before, python = _all_bits(model, optimizer), random.getstate()
    trial = fastest_forward(model, _batches(), precision="fp32", device=CPU)
    assert _same(_all_bits(model, optimizer), before)
    assert random.getstate() == python
    assert [tried.way for tried in trial.tried] == ["eager", "compile"]
    times = {tried.way: tried.seconds for tried in trial.tried}
    assert all(seconds is not None and seconds > 0 for seconds in times.values())
    assert trial.fastest == min(times, key=times.get)
    assert "compile" in str(trial)
    assert str(trial).endswith(f"{trial.fastest} is taken")
    x = _batches()[0][0]
    for layer in model.modules():
        layer.training = False
    torch.testing.assert_close(forward_of(model, "compile")(x), model(x))
    assert torch.equal(trial.forward(x), forward_of(model, trial.fastest)(x))


@pytest.mark.slow
def test_what_cannot_be_compiled_loses_with_its_reason() -> None:
    model = _Dropped(compilable=False)
    trial = fastest_forward(model, _batches(), precision="fp32", device=CPU)
    assert trial.fastest == "eager"
    assert trial.forward is model
    failed = trial.tried[1]
    assert (failed.way, failed.seconds) == ("compile", None)
    assert failed.fault
    assert "\n" not in failed.fault
    assert f"compile failed ({failed.fault})" in str(trial)


def test_a_fault_of_the_network_itself_is_raised() -> None:
    wrong = [(x[:, :2], y) for x, y in _batches()]
    with pytest.raises(RuntimeError, match="channels"):
        fastest_forward(_Dropped(), wrong, precision="fp32", device=CPU)


def test_the_price_of_determinism_is_a_ratio_and_changes_nothing() -> None:
    torch.manual_seed(0)
    model = _Dropped()
    optimizer = _trained_once(model)
    before = _all_bits(model, optimizer)
    assert 0.1 < price_of_determinism(model, _batches(), precision="fp32", device=CPU) < 10
    assert _same(_all_bits(model, optimizer), before)
    assert not torch.are_deterministic_algorithms_enabled()


class _Put(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        x.put_(torch.zeros(2, dtype=torch.int64), torch.ones(2))  # whichever comes last: not determined
        return super().forward(x)


def test_what_cannot_be_deterministic_is_the_user_s_fault() -> None:
    batches = [(torch.zeros(4, 3), torch.arange(4) % 2)]
    with pytest.raises(UserError, match=r"runtime.deterministic: put_ of this network .* on cpu"):
        price_of_determinism(_Put(3, 2), batches, precision="fp32", device=CPU)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_are_tried_on_cuda_and_train_as_eager_steps_do() -> None:
    device = torch.device("cuda")
    model, batches = _Dropped().to(device).eval(), [(x.to(device), y.to(device)) for x, y in _batches()]
    trial = fastest_forward(model, batches, precision="fp32", device=device)
    assert [tried.way for tried in trial.tried] == ["eager", "compile", "graphs"]
    assert all(tried.fault is None for tried in trial.tried), str(trial)
    assert "graphs" not in str(fastest_forward(model, batches, precision="fp32", device=device, graphs=False))
    graphs = forward_of(model, "graphs")
    for x, _ in batches * 2:
        torch.testing.assert_close(graphs(x), model(x))
