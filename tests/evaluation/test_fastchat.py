"""FastChat's show_result.py prints the numbers of our report.

SHOW_RESULT names the file of a FastChat checkout (fastchat/llm_judge/show_result.py); it needs pandas only. Without it
the same arithmetic is done here from its description: drop scores of -1, take means; of pairs drop errors, count a
disagreement as a tie for both.
"""

import hashlib
import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from alignkit.evaluation.records import read_records
from alignkit.evaluation.report import make_report
from tests.evaluation.scripted import judged

MODELS = {
    "base": lambda one, turn: f"b{one.id}.{turn}",
    "sft": lambda one, turn: f"s{one.id}.{turn}",
    "dpo": lambda one, turn: f"d{one.id}.{turn}",
}
CATEGORIES = ("writing", "math", "stem", "coding", "humanities", "roleplay", "extraction", "reasoning") * 2
CATEGORIES = tuple(name for name in CATEGORIES if name not in ("coding", "reasoning"))  # no references for these


def number(text):
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def rates(text):
    """A rating, sometimes with a half, sometimes none, sometimes one that cannot be."""
    kind = number(text) % 13
    if kind > 10:
        return "No idea." if kind == 11 else "[[85]]"
    return f"Well.\nRating: [[{1 + kind * 0.9:g}]]"


def compares(text):
    return ("[[A]]", "[[A]]", "[[B]]", "[[B]]", "[[C]]", "No idea.")[number(text) % 6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mt_bench")
    judged(path, rates, categories=CATEGORIES, **MODELS)
    pairs = [("sft", "base"), ("dpo", "base"), ("sft", "dpo")]
    found, _ = judged(path, compares, pairs=pairs, categories=CATEGORIES, **MODELS)
    return found


@pytest.fixture(scope="module")
def report(folder):
    (judge,) = make_report(read_records(folder)).judges
    return judge


def judgments(folder, kind):
    return pd.read_json(folder.path / "model_judgment" / f"judge_{kind}.jsonl", lines=True)


def test_ratings_by_its_arithmetic(folder, report):
    frame = judgments(folder, "single")
    frame = frame[frame["score"] != -1]
    assert 0 < len(frame) < 6 * len(CATEGORIES)
    for one in report.models:
        own = frame[frame["model"] == one.model]
        assert one.overall.mean == pytest.approx(own["score"].mean(), rel=1e-12)
        for turn in (1, 2):
            assert one.turns[turn].mean == pytest.approx(own[own["turn"] == turn]["score"].mean(), rel=1e-12)


def games_of(report, model, baseline=None):
    """(wins, losses, ties) of a model over its pairs."""
    total = [0, 0, 0]
    for pair in report.pairs:
        if model in pair.models and (baseline is None or baseline in pair.models):
            wins, losses = (pair.wins, pair.losses) if pair.models[0] == model else (pair.losses, pair.wins)
            total = [total[0] + wins, total[1] + losses, total[2] + pair.ties]
    return tuple(total)


def test_pairs_by_its_arithmetic(folder, report):
    frame = judgments(folder, "pair")
    assert not {"error"} & {*frame["g1_winner"], *frame["g2_winner"]}, "what has no value is in a file beside"
    for model in MODELS:
        own = frame[(frame["model_1"] == model) | (frame["model_2"] == model)]
        side = (own["model_1"] == model).map({True: "model_1", False: "model_2"})
        same = own["g1_winner"] == own["g2_winner"]
        ties = (~same | (own["g1_winner"] == "tie")).sum()
        wins = (same & (own["g1_winner"] == side)).sum()
        assert games_of(report, model) == (wins, len(own) - wins - ties, ties)


def shown(folder, *args):
    """What FastChat's program prints for these arguments: {first cells of a row: the rest of its cells}."""
    program = os.environ.get("SHOW_RESULT")
    if program is None:
        pytest.skip("SHOW_RESULT does not name FastChat's show_result.py")
    kind = "single" if "single" in args else "pair"
    file = folder.path / "model_judgment" / f"judge_{kind}.jsonl"
    command = [sys.executable, program, "--input-file", str(file), "--mode", *args]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in run.stdout.splitlines() if re.match(r"(base|sft|dpo) ", line)]


def printed_as(cell, value):
    """The value with as many digits as were printed."""
    return f"{value:.{len(cell.partition('.')[2])}f}"


def test_show_result_single(folder, report):
    by_name = {one.model: one for one in report.models}
    printed = shown(folder, "single")
    assert len(printed) == 9
    for model, *cells in printed:
        one = by_name[model]
        ours = one.turns[int(cells[0])].mean if len(cells) == 2 else one.overall.mean
        assert printed_as(cells[-1], ours) == cells[-1]


@pytest.mark.parametrize("baseline", [None, "base"])
def test_show_result_pairs(folder, report, baseline):
    args = ["pairwise-all"] if baseline is None else ["pairwise-baseline", "--baseline-model", baseline]
    printed = shown(folder, *args)
    assert len(printed) == (3 if baseline is None else 2)
    for model, *cells in printed:
        wins, losses, ties = games_of(report, model, baseline)
        assert [int(cell) for cell in cells[:3]] == [wins, losses, ties]
        count = wins + losses + ties
        rates = (wins / count, losses / count, (wins + ties / 2) / count)
        assert [printed_as(cell, rate) for cell, rate in zip(cells[3:], rates, strict=True)] == cells[3:]
