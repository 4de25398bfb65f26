"""The process in which answers are verified; `_isolated.py` starts it with the name of a function of this file.

It stands alone, without alignkit and torch, so that it starts fast and can be killed at any time. It reads a request as
a line of JSON and writes {"score": NUMBER}, {"unverified": REASON}, or {"bad_data": REASON} where the answer is not to
blame.
"""

import json
import re
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

MEMORY = 4 * 2**30  # bytes of address space, where the system can limit it
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?")


class BadData(ValueError):
    """What the data expect cannot be used."""


def math_verify() -> Callable[..., float]:
    """(answer, expected): 1 if they are the same mathematics."""
    from math_verify import LatexExtractionConfig, parse, verify

    # LaTeX has a grammar of its own; the library's reader of plain expressions goes through eval, and stays out
    latex = (LatexExtractionConfig(),)

    def read(text: str) -> list[Any]:
        return parse(text, latex, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True)

    @lru_cache(maxsize=1024)
    def read_expected(expected: str) -> list[Any]:
        if found := read(expected) or read(f"${expected}$"):
            return found
        raise BadData(f"the expected answer {expected!r} is no mathematics")

    def score(answer: str, expected: str) -> float:
        gold = read_expected(expected)
        numbers = NUMBER.findall(answer)
        said = read(answer) or (read(f"${numbers[-1]}$") if numbers else [])
        return float(bool(said) and verify(gold, said, timeout_seconds=None))

    return score


def reasoning_gym() -> Callable[..., float]:
    """(answer, expected, task): the score of the task's own verifier. The task is made again from its seed."""
    import reasoning_gym as library

    @cache
    def dataset(name: str, options: str, seed: int, count: int) -> Any:
        return library.create_dataset(name, seed=seed, size=count, **json.loads(options))

    @lru_cache(maxsize=4096)
    def entry(made: Any, number: int) -> dict[str, Any]:
        return made[number]

    def score(answer: str, expected: str, task: dict[str, Any]) -> float:
        made = dataset(task["name"], json.dumps(task["options"]), task["seed"], task["count"])
        found = entry(made, task["number"])
        if str(found["answer"]) != expected:
            raise BadData(f"the task made again expects {found['answer']!r}, and the data say {expected!r}")
        return float(made.score_answer(answer, found))

    return score


def limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))


def serve(score: Callable[..., float]) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            reply: dict[str, Any] = {"score": score(**json.loads(line))}
        except BadData as error:
            reply = {"bad_data": str(error)}
        except Exception as error:  # whatever the libraries raise on an odd answer
            reply = {"unverified": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    limit_memory()
    serve({"math_verify": math_verify, "reasoning_gym": reasoning_gym}[sys.argv[1]]())
