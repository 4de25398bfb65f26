"""How the commands end when a user's file is at fault: one message, exit code 2, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

RECIPE_OR_DATA = 2


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a ValueError raised while a recipe is read and built into a message and exit code 2.

    Everything that alignkit refuses on purpose is a ValueError whose text says what to write instead. The training
    loop stays outside: what fails there is a defect, and its traceback is wanted.
    """
    try:
        yield
    except ValueError as error:
        from alignkit.recipe.problems import RecipeError  # here, since --help and completion should not wait for torch

        if isinstance(error, RecipeError):
            print(error.report(), file=sys.stderr)
            count = len(error.problems)
            print(f"{count} problem{'s' if count != 1 else ''}. Nothing was started.", file=sys.stderr)
        else:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(RECIPE_OR_DATA)
