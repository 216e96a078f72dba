"""Recipes: what one experiment is, read from YAML and checked before anything is built."""

from namprune.recipe.dump import dump_recipe, recipe_digest, recipe_schema
from namprune.recipe.load import load_recipe, parse_recipe
from namprune.recipe.schema import Recipe
from namprune.recipe.shipped import ShippedRecipe, shipped_recipes

__all__ = [
    "Recipe",
    "ShippedRecipe",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_digest",
    "recipe_schema",
    "shipped_recipes",
]
