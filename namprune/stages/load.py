"""The network of a run, for whoever goes on with it in Python."""

import torch
from torch import nn

from namprune.recipe import load_recipe
from namprune.runs import RunFolder
from namprune.stages.network import open_network


def load(run: RunFolder) -> nn.Module:
    """The network of a finished run, as narrow as it became, in eval mode on the CPU.

    Every file of the run is checked against its digest, and none is unpickled. A network of `source: python` is built
    by its own code, which runs.

    Raises:
        RunError: the run is unfinished or broken, or its weights do not fit its recipe.
        UserError: the library or the code that the network comes from is not there.
    """
    with torch.device("cpu"):  # whatever a notebook has set
        model, _ = open_network(run, load_recipe(str(run.recipe)))
    return model.eval()
