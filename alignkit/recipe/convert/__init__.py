"""Files of TRL's scripts and of the alignment-handbook, turned into recipes.

What alignkit has is carried over, under its name here. Everything else goes through the reader of recipes, and what
that refuses is left out with the reader's own reason; so the result always loads.
"""

from alignkit.recipe.convert._convert import Converted, convert
from alignkit.recipe.convert._script import SCRIPTS

__all__ = ["SCRIPTS", "Converted", "convert"]
