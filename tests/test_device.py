import platform

import pytest
import torch

from namprune.device import PACKAGES, autocast, describe_environment, pick_device
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
