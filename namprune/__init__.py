"""Train, prune and prove smaller CNNs with NAM attention as the compression signal.

Every command is a function here, and so are its parts; they are loaded when they are first used.

    import namprune

    pruned = namprune.prune_model(model, pictures, ratio=0.3)  # pictures (N, C, H, W)
    cost = namprune.complexity(pruned.model, (3, 32, 32))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from namprune.attention import NAM as NAM
    from namprune.attention import Attention as Attention
    from namprune.cam import grad_cam as grad_cam
    from namprune.data import Data as Data
    from namprune.data import build_data as build_data
    from namprune.data.resident import Pictures as Pictures
    from namprune.data.resident import resident_data as resident_data
    from namprune.errors import NampruneError as NampruneError
    from namprune.errors import UserError as UserError
    from namprune.measure import interleaved_latency as interleaved_latency
    from namprune.measure.accuracy import accuracy as accuracy
    from namprune.measure.complexity import complexity as complexity
    from namprune.models import build_model as build_model
    from namprune.models.surgery import insert_attention as insert_attention
    from namprune.pruning import ChannelGroup as ChannelGroup
    from namprune.pruning import PrunedModel as PrunedModel
    from namprune.pruning import PruningPlan as PruningPlan
    from namprune.pruning import Sensitivity as Sensitivity
    from namprune.pruning import accuracy_drop as accuracy_drop
    from namprune.pruning import file_size as file_size
    from namprune.pruning import latency_target as latency_target
    from namprune.pruning import params_share as params_share
    from namprune.pruning import prune_model as prune_model
    from namprune.pruning import recalibrate as recalibrate
    from namprune.recipe import Recipe as Recipe
    from namprune.recipe import dump_recipe as dump_recipe
    from namprune.recipe import load_recipe as load_recipe
    from namprune.report import Report as Report
    from namprune.report import to_markdown as to_markdown
    from namprune.report.collect import collect as collect
    from namprune.runs import RunStore as RunStore
    from namprune.stages.bench import bench as bench
    from namprune.stages.compare import compare as compare
    from namprune.stages.comparison import Comparison as Comparison
    from namprune.stages.evaluate import evaluate as evaluate
    from namprune.stages.explain import explain as explain
    from namprune.stages.export import export_run as export_run
    from namprune.stages.load import load as load
    from namprune.stages.predict import predict as predict
    from namprune.stages.prune import prune as prune
    from namprune.stages.resume import resume as resume
    from namprune.stages.scratch import scratch as scratch
    from namprune.stages.sensitivity import sensitivity as sensitivity
    from namprune.stages.train import train as train
    from namprune.training import fit as fit

    __version__: str

_HOMES = {
    "Attention": "namprune.attention",
    "ChannelGroup": "namprune.pruning",
    "Comparison": "namprune.stages.comparison",
    "Data": "namprune.data",
    "NAM": "namprune.attention",
    "NampruneError": "namprune.errors",
    "Pictures": "namprune.data.resident",
    "PrunedModel": "namprune.pruning",
    "PruningPlan": "namprune.pruning",
    "Recipe": "namprune.recipe",
    "Report": "namprune.report",
    "RunStore": "namprune.runs",
    "Sensitivity": "namprune.pruning",
    "UserError": "namprune.errors",
    "accuracy": "namprune.measure.accuracy",
    "accuracy_drop": "namprune.pruning",
    "bench": "namprune.stages.bench",
    "build_data": "namprune.data",
    "build_model": "namprune.models",
    "collect": "namprune.report.collect",
    "compare": "namprune.stages.compare",
    "complexity": "namprune.measure.complexity",
    "dump_recipe": "namprune.recipe",
    "evaluate": "namprune.stages.evaluate",
    "explain": "namprune.stages.explain",
    "export_run": "namprune.stages.export",
    "file_size": "namprune.pruning",
    "fit": "namprune.training",
    "grad_cam": "namprune.cam",
    "insert_attention": "namprune.models.surgery",
    "interleaved_latency": "namprune.measure",
    "latency_target": "namprune.pruning",
    "load": "namprune.stages.load",
    "load_recipe": "namprune.recipe",
    "params_share": "namprune.pruning",
    "predict": "namprune.stages.predict",
    "prune": "namprune.stages.prune",
    "prune_model": "namprune.pruning",
    "recalibrate": "namprune.pruning",
    "resident_data": "namprune.data.resident",
    "resume": "namprune.stages.resume",
    "scratch": "namprune.stages.scratch",
    "sensitivity": "namprune.stages.sensitivity",
    "to_markdown": "namprune.report",
    "train": "namprune.stages.train",
}
"""Where each public name lives, so that `import namprune` loads nothing but this."""

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("namprune")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
