import platform
from collections.abc import Iterator

import pytest
import torch

from namprune.device import PACKAGES, autocast, describe_environment, deterministic, pick_device
from namprune.errors import UserError

CPU = torch.device("cpu")


def test_auto_takes_cuda_where_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_cpu_is_always_there() -> None:
    assert pick_device("cpu") == CPU


def test_absent_device_is_the_user_s_fault() -> None:
    with pytest.raises(UserError, match=r"runtime.device: cuda:99 is not on this machine") as caught:
        pick_device("cuda:99")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_of_a_product_on_the_cpu(precision, dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == dtype


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_of_a_product_on_cuda(precision, dtype) -> None:
    x = torch.ones(2, 2, device="cuda")
    with autocast(precision, x.device):
        assert (x @ x).dtype == dtype


def test_environment_names_device_and_versions() -> None:
    environment = describe_environment(CPU)
    kind, _, name = environment.device.partition(": ")
    assert kind == "cpu"
    assert name
    assert environment.threads == torch.get_num_threads()
    assert environment.python == platform.python_version()
    assert tuple(environment.versions) == PACKAGES
    assert environment.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]


def _switches() -> dict[str, object]:
    backends = torch.backends
    return {
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn": torch.is_deterministic_algorithms_warn_only_enabled(),
        "deterministic": backends.cudnn.deterministic,
        "benchmark": backends.cudnn.benchmark,
        "tf32": (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
    }


EXACT = {
    "algorithms": True,
    "warn": False,
    "deterministic": True,
    "benchmark": False,
    "tf32": (False, False),
    "fill": False,
}


@pytest.fixture
def global_switches() -> Iterator[None]:
    """A test that changes how PyTorch computes leaves no trace."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("global_warn_only", [None, True])
def test_deterministic_sets_every_switch_and_puts_it_back(global_switches, global_warn_only) -> None:
    if global_warn_only:
        torch.use_deterministic_algorithms(True, warn_only=True)
    before = _switches()
    with deterministic(True):
        assert _switches() == EXACT
        with deterministic(False):
            inner = _switches()
            assert (inner["algorithms"], inner["deterministic"], inner["benchmark"]) == (False, False, True)
        assert _switches() == EXACT
    assert _switches() == before


def test_deterministic_puts_the_switches_back_when_something_fails(global_switches) -> None:
    before = _switches()
    with pytest.raises(RuntimeError, match="not have a deterministic"), deterministic(True):
        torch.zeros(2).put_(torch.tensor([0, 0]), torch.ones(2))
    assert _switches() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_deterministic_step_repeats_to_the_bit_on_cuda() -> None:
    gradients = []
    with deterministic(True):
        for _ in range(2):
            torch.manual_seed(0)
            convolution = torch.nn.Conv2d(64, 64, 3, padding=1).cuda().to(memory_format=torch.channels_last)
            x = torch.randn(64, 64, 32, 32, device="cuda").to(memory_format=torch.channels_last)
            convolution(x).square().sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in convolution.parameters()]))
    assert torch.equal(*gradients)
