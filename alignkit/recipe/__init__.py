"""Recipes: one YAML file says what is trained, on what, and how; `load` reads it strictly.

A typo, a key in the wrong section or options that contradict each other are errors, all of them at once, each with its
line and what to write instead.
"""

from alignkit.recipe.dump import dump
from alignkit.recipe.json_schema import json_schema
from alignkit.recipe.load import load
from alignkit.recipe.problems import Problem, RecipeError
from alignkit.recipe.provenance import save_provenance
from alignkit.recipe.schema import Recipe, TrainSpec, config_class
from alignkit.recipe.shipped import resolve_recipe, shipped_recipes

__all__ = [
    "Problem",
    "Recipe",
    "RecipeError",
    "TrainSpec",
    "config_class",
    "dump",
    "json_schema",
    "load",
    "resolve_recipe",
    "save_provenance",
    "shipped_recipes",
]
