"""Memory that runs out is the machine's fault, in words that help."""

import pytest
import torch

from namprune.cli import _in_words


def test_what_a_cpu_refuses_is_said_in_one_line() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 50)  # 4 PiB
    fault = _in_words(refused.value)
    assert str(fault) == "the device is out of memory"
    assert _in_words(other := RuntimeError("of another kind")) is other
