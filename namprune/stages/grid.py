"""The runs that a comparison consists of, as data: attention x cut x seed, and the controls of NAM."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from namprune.choices import CriterionName
from namprune.device import pick_device
from namprune.errors import UserError
from namprune.models import build_model
from namprune.pruning import ChannelGraph, Ranking
from namprune.recipe import Recipe, recipe_digest
from namprune.recipe.schema import AIMS, PruneSection
from namprune.recipe.variant import from_scratch, with_attention
from namprune.result import Kind
from namprune.stages.goal import multiple

STEM = 15
"""Characters of the network's name in that of a run: 64 in all have to hold the longest cut of the largest seed."""

MAX_SEED = 2**31 - 1
"""The largest seed of a recipe."""

CONTROL_ATTENTIONS = ("none", "half")
"""Trained beside NAM as its controls: plain BatchNorm factors alone, and a gate that says nothing."""

CONTROL_CRITERIA: tuple[CriterionName, ...] = ("random", "l1")
"""Cut NAM's own network, as its controls."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the grid; `parent` is the name of the cell that it is made from, `effort` grows with its time."""

    kind: Kind
    name: str
    label: str
    recipe: Recipe
    parent: str | None
    effort: int

    @property
    def digest(self) -> str:
        """Of the recipe, without its seed."""
        return recipe_digest(self.recipe, kind="train" if self.kind == "train" else "prune")


def cuts(
    section: PruneSection,
    *,
    ratios: Sequence[float] = (),
    target_macs: Sequence[float] = (),
    criteria: Sequence[CriterionName] = (),
) -> tuple[PruneSection, ...]:
    """A recipe's cut in all the given sizes by all the given criteria; what is not given stays as it is."""
    none = dict.fromkeys(AIMS)
    aims: list[dict[str, float | None]] = [none | {"ratio": ratio} for ratio in ratios]
    aims += [none | {"target_macs": share} for share in target_macs]
    pairs = product(aims or [{}], criteria or [section.criterion])
    return tuple(section.model_copy(update={**aim, "criterion": criterion}) for aim, criterion in pairs)


def grid(recipe: Recipe, *, attentions: Sequence[str], cuts: Sequence[PruneSection], seeds: int) -> tuple[Cell, ...]:
    """The runs in the order they are made: seed by seed, so that an early look compares all attentions.

    Raises:
        UserError: the last seed is more than a recipe may have.
    """
    cells: list[Cell] = []
    for dense in _dense_cells(recipe, attentions, seeds):
        cells += [dense, *(_pruned(dense, cut) for cut in cuts)]
    return tuple(cells)


def control_grid(
    recipe: Recipe, *, attentions: Sequence[str], cuts: Sequence[PruneSection], seeds: int
) -> tuple[Cell, ...]:
    """The grid with the controls of NAM beside it, which only say something at equal MACs.

    The plain network, where the criterion `nam` is that of plain BatchNorms; the constant gate 0.5; and of NAM's own
    network cuts of random channels, by L1 norm, and of one share of every layer (uniform width), and the shape of
    its own cut trained from scratch.

    Raises:
        UserError: NAM is not among the attentions, or the last seed is more than a recipe may have.
    """
    if "nam" not in attentions:
        raise UserError("controls are controls of nam, which is not compared", hint="add nam to --attention")
    cells: list[Cell] = []
    for dense in _dense_cells(recipe, dict.fromkeys((*attentions, *CONTROL_ATTENTIONS)), seeds):
        cells += [dense, *(_pruned(dense, cut) for cut in cuts)]
        if dense.recipe.attention.name == "nam":
            cells += (control for cut in cuts for control in _controls(dense, cut))
    return tuple({cell.name: cell for cell in cells}.values())


def at_equal_macs(
    recipe: Recipe, cuts: Sequence[PruneSection], *, classes: int, input_shape: tuple[int, int, int]
) -> tuple[PruneSection, ...]:
    """The cuts with shares of the MACs in the place of ratios of the channels.

    A ratio becomes what the recipe's network keeps of its MACs when every layer loses that ratio, to two digits: it
    depends on the architecture alone, so all attentions, criteria and seeds can be brought to the same.

    Raises:
        UserError: a ratio leaves so many MACs that 2 % more or less would be all of them, or training removes channels.
    """
    if recipe.sparsity.remove_every:
        raise UserError(
            "controls compare at equal MACs, sparsity.remove_every leaves each dense network others", hint="set it to 0"
        )
    model = build_model(recipe, classes=classes, input_shape=input_shape)
    ranking = Ranking.of(ChannelGraph(model, input_shape), input_shape, criterion="l1")
    found = []
    for cut in cuts:
        share = cut.target_macs
        if cut.ratio is not None:
            round_to = multiple(cut, pick_device(recipe.runtime.device))
            kept = ranking.kept(cut.ratio, scope="local", floor=cut.floor, round_to=round_to)
            share = float(f"{ranking.macs_after(kept) / ranking.cost.total:.2g}")
            if share > 0.97:
                raise UserError(
                    f"ratio {cut.ratio:g} leaves {share:g} of the MACs: nothing to compare", hint="raise it"
                )
        if share is None:
            raise UserError(
                f"controls compare at equal MACs, the recipe's cut goes to {cut.tag}",
                hint="give ratios, or shares with --target-macs",
            )
        found.append(cut.model_copy(update={"ratio": None, "target_macs": share}))
    return tuple(cut for at, cut in enumerate(found) if cut not in found[:at])


def _dense_cells(recipe: Recipe, attentions: Sequence[str] | dict[str, None], seeds: int) -> Iterator[Cell]:
    if recipe.seed + seeds - 1 > MAX_SEED:
        raise UserError(
            f"{seeds} seeds from {recipe.seed} on: the largest is {MAX_SEED}", hint="lower the recipe's seed"
        )
    for seed, attention in product(range(recipe.seed, recipe.seed + seeds), attentions):
        own = with_attention(recipe, attention).model_copy(update={"seed": seed})
        yield Cell(
            kind="train",
            name=f"{own.model.stem_name[:STEM]}-{attention}-{recipe_digest(own, kind='train')[:8]}-s{seed}",
            label=f"{attention} seed {seed} trained",
            recipe=own,
            parent=None,
            effort=own.train.epochs + 1,  # the measurements take about as long as an epoch
        )


def _pruned(dense: Cell, cut: PruneSection) -> Cell:
    recipe = dense.recipe.model_copy(update={"prune": cut})
    scope = "" if cut.scope == "global" else f"-{cut.scope}"  # a name has 64 characters
    return Cell(
        kind="prune",
        name=f"{dense.name}-{cut.tag}-{cut.criterion}{scope}",
        label=f"{recipe.attention.name} seed {recipe.seed} pruned {cut.tag} {cut.criterion} {cut.scope}",
        recipe=recipe,
        parent=dense.name,
        effort=recipe.finetune.epochs + 1,
    )


def _controls(dense: Cell, cut: PruneSection) -> Iterator[Cell]:
    for criterion in CONTROL_CRITERIA:
        yield _pruned(dense, cut.model_copy(update={"criterion": criterion}))
    yield _pruned(dense, cut.model_copy(update={"scope": "local"}))
    own = _pruned(dense, cut)
    recipe = from_scratch(own.recipe)
    yield Cell(
        kind="scratch",
        name=f"{own.name}-scratch",
        label=f"{own.label} from scratch",
        recipe=recipe,
        parent=own.name,
        effort=recipe.train.epochs + 1,
    )
