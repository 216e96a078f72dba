"""Networks of torchvision and timm through the knife: the fast half of the table in docs/models.md."""

import importlib.util
from pathlib import Path

import pytest

import namprune
from namprune.pruning.apply import PROOF_TOLERANCE

SCRIPT = Path(namprune.__file__).parents[1] / "scripts" / "check_models.py"
_spec = importlib.util.spec_from_file_location("check_models", SCRIPT)
check_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check_models)


@pytest.mark.parametrize("name", check_models.SMALL)
def test_half_of_the_channels_go(name: str) -> None:
    row = check_models.check(name, 64, 0.5)
    assert row.faults == ()
    assert row.proof <= PROOF_TOLERANCE
    assert row.channels[1] == pytest.approx(row.channels[0] / 2, rel=0.01)
    assert row.macs[1] < 0.55 * row.macs[0]
    assert bool(row.left) == name.startswith("shufflenet")
    assert row.seconds < check_models.SECONDS


def test_what_cannot_be_cut_is_refused_by_name() -> None:
    row = check_models.apart("timm:convnextv2_atto", 64, 0.5)
    assert "refused: no channels of this network can go: stem.0: stem.1 is a LayerNorm2d" in row
    assert "FAULT" not in check_models.line("timm:convnextv2_atto", 64, 0.5, row)
