"""`python scripts/soak.py [RECIPE] [key=value ...] [--kills 200]`: kills runs at random, resumes, compares."""

import argparse

import alignkit.recipe.build  # noqa: F401 (runs are forks, and have what is imported here)
from alignkit.cli.train import command
from alignkit.studies.soak import soak

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="dpo/tiny")
    parser.add_argument("overrides", nargs="*", default=["train.max_steps=30"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    print(soak(command.main, chosen.recipe, chosen.overrides, chosen.kills, chosen.seed))
