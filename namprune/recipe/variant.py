"""The same experiment with another attention, or without what only a cut needs."""

from namprune.recipe.schema import Recipe, SparsitySection


def with_attention(recipe: Recipe, name: str) -> Recipe:
    """`recipe` with attention `name` at its default options, and at the same places of a network that is not ours;
    with the recipe's own name, as it is.

    A penalty on the factors of NAM has no target in another network: left there it would be refused, left out the
    other network would go to the cut without sparsity, an unequal rival. So `sparsity.on: nam` becomes `all`, of the
    same strength; only spatial NAM has pixel factors, so `l1_lambda` becomes 0.
    """
    if name == recipe.attention.name:
        return recipe
    tree = recipe.model_dump()
    places = {"at": recipe.attention.at} if recipe.attention.name != "none" and name != "none" else {}
    tree["attention"] = {"name": name, **places}
    tree["sparsity"]["l1_lambda"] = 0.0
    if tree["sparsity"]["on"] == "nam":
        tree["sparsity"]["on"] = "all"
    return Recipe.model_validate(tree)


def from_scratch(recipe: Recipe, *, earlier: int = 0) -> Recipe:
    """What gives the pruned shape the same budget: the epochs of training and fine-tuning in one training.

    `earlier` are those of fine-tuning after cuts before the last.

    Without a penalty, which serves only to rank what is to go.
    """
    epochs = recipe.train.epochs + earlier + recipe.finetune.epochs
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"epochs": epochs}),
            "finetune": recipe.finetune.model_copy(update={"epochs": 0, "warmup": 0.0}),
            "sparsity": SparsitySection(),
        }
    )
