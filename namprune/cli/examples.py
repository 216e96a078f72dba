"""Command lines to begin with, shown below the help of each command."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("namprune train --recipe quickstart", "half a minute on a CPU"),
        ("namprune prune --ratio 0.5", "the newest trained run"),
        ("namprune report", "all runs side by side"),
    ),
    "train": (
        ("namprune train --recipe quickstart", "half a minute"),
        ("namprune train --recipe resnet20 --set train.epochs=20", "a shorter try"),
        ("namprune train --resume", "go on with the one begun last"),
    ),
    "compare": (
        ("namprune compare --recipe quickstart --ratio 0.3,0.5", "5 attentions, 2 cuts"),
        ("namprune compare --recipe resnet20 --attention nam,none --seeds 3", "means, spread"),
        ("namprune compare --resume", "go on with the one begun last"),
    ),
    "prune": (
        ("namprune prune --ratio 0.5", "of the newest trained run"),
        ("namprune prune RUN --target-macs 0.4 --dry-run", "the plan alone"),
    ),
    "sensitivity": (
        ("namprune sensitivity RUN", "five ratios for each group"),
        ("namprune sensitivity RUN --ratios 0.5", "a quick look"),
    ),
    "report": (
        ("namprune report", "all runs, on the terminal"),
        ("namprune report --format html", "a page to look at, report.html"),
        ("namprune report RUN1 RUN2 --output table.tex", "these two, for a paper"),
    ),
    "runs": (
        ("namprune runs", "all of ./runs"),
        ("namprune runs show RUN", "one, and whether its files are whole"),
    ),
    "runs show": (
        ("namprune runs show RUN", "numbers and origin"),
        ("namprune runs show RUN --json", "for a program"),
    ),
    "evaluate": (
        ("namprune evaluate RUN", "on the test pictures"),
        ("namprune evaluate RUN --split val", "on those held out of training"),
    ),
    "explain": (
        ("namprune explain RUN cat.jpg --out maps", "before and after the cut"),
        ("namprune explain RUN cat.jpg --class dog", "what would speak for a dog"),
    ),
    "predict": (
        ("namprune predict RUN cat.jpg", "the five most probable classes"),
        ("namprune predict RUN *.jpg --top 1 --json", "for a program"),
    ),
    "export": (
        ("namprune export RUN", "ONNX, run again and compared"),
        ("namprune export RUN --quantize int8", "calibrated, accuracy measured"),
        ("namprune export RUN --format torch --out net.pt2", "for PyTorch alone"),
    ),
    "bench": (
        ("namprune bench RUN", "beside its dense ancestor"),
        ("namprune bench RUN --backend onnxruntime --threads 1", "what was exported"),
    ),
    "recipes": (
        ("namprune recipes", "those that are shipped"),
        ("namprune recipes show quickstart > mine.yaml", "one to be changed"),
    ),
    "recipes show": (
        ("namprune recipes show quickstart", "read it"),
        ("namprune recipes show resnet20 > mine.yaml", "one to be changed"),
    ),
    "recipes validate": (
        ("namprune recipes validate mine.yaml", "every fault, with its line"),
        ("namprune recipes validate resnet20 --set train.epochs=3", "with changes"),
    ),
    "recipes schema": (
        ("namprune recipes schema > recipe.schema.json", "for an editor"),
        ("namprune recipes schema --json", "the same"),
    ),
    "init": (
        ("namprune init --data ./pictures", "for a folder of pictures"),
        ("namprune init --model torchvision:resnet18 --data ./pictures", "for that network"),
    ),
    "doctor": (
        ("namprune doctor", "versions, devices, data, what is missing"),
        ("namprune doctor --json", "for a bug report"),
    ),
}
"""By the words behind `namprune`: command lines, and what each is for. RUN stands for the name of a run."""


def epilog_of(command: str) -> str | None:
    """The examples as the end of a help, in rich's markup."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(("Examples:", *(f"{line}  [dim]# {what}[/dim]" for line, what in lines))) if lines else None
