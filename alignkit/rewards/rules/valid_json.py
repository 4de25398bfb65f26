"""Whether an answer is JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule

FENCE = "```"


@dataclass(frozen=True, kw_only=True)
class ValidJson(Rule):
    """1 if the answer is one JSON value, or with `keys` an object that has them; else 0

    The value may stand in a block of code, with nothing around it. NaN and Infinity are no JSON.
    """

    keys: tuple[str, ...] = ()  # that the object must have, at its top; others are allowed

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        text = answer.strip()
        if text.startswith(FENCE) and text.endswith(FENCE):
            text = re.sub(r"^(json)?\s", "", text.removeprefix(FENCE).removesuffix(FENCE), flags=re.IGNORECASE)
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):  # thousands of open brackets
            return 0.0
        return float(not self.keys or (isinstance(value, dict) and {*self.keys} <= {*value}))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
