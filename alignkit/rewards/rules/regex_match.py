"""Whether an answer matches a regular expression, or holds the expected text where the expression says."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import regex

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule, positive

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RegexMatch(Rule):
    """1 if the pattern is found; with `column`, if its last match captures the expected text; else 0

    `pattern: '#### (.+)', column: answer` compares what follows the last ####. Some patterns take a time exponential in
    the length of a text that does not match; after `seconds` an answer counts as one, with a warning.
    """

    pattern: str  # of the package `regex`, which reads those of `re`
    column: str | None = None  # of the data: what the first group captures; unset: nothing is compared
    seconds: float = 1.0  # for one answer, > 0

    def __post_init__(self) -> None:
        positive(seconds=self.seconds)
        try:
            groups = regex.compile(self.pattern).groups
        except regex.error as error:
            raise ValueError(f"pattern = {self.pattern!r} is no regular expression: {error}") from None
        if self.column is not None and not groups:
            raise ValueError(f"pattern = {self.pattern!r} captures nothing to compare; write (...) around the answer")

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        try:
            found = [match[0] if self.column is None else match[1] for match in self._matches(answer)]
        except TimeoutError:
            logger.warning("%r is searched for longer than %g s, which counts as no match", self.pattern, self.seconds)
            return 0.0
        if self.column is None or not found:
            return float(bool(found))
        return float((found[-1] or "").strip() == str(row[self.column]).strip())

    def _matches(self, answer: str) -> Iterator[regex.Match[str]]:
        return regex.finditer(self.pattern, answer, timeout=self.seconds)
