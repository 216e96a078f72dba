"""The records of a run, as JSON and as frozen values. Torch-free."""

from namprune.result.export import Export, ExportFormat, Quantize
from namprune.result.reading import record_from_json, to_json
from namprune.result.run import (
    FORMAT,
    Accuracy,
    Complexity,
    Cut,
    Environment,
    EpochRecord,
    GammaSpread,
    Kind,
    Latency,
    Measurement,
    RunResult,
    Target,
    Timing,
    from_json,
)
from namprune.result.start import Start

__all__ = [
    "FORMAT",
    "Accuracy",
    "Complexity",
    "Cut",
    "Environment",
    "EpochRecord",
    "Export",
    "ExportFormat",
    "GammaSpread",
    "Kind",
    "Latency",
    "Measurement",
    "Quantize",
    "RunResult",
    "Start",
    "Target",
    "Timing",
    "from_json",
    "record_from_json",
    "to_json",
]
