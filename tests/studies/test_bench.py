"""The benchmark runs, and counts what it says it counts; its times are not asserted."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from alignkit.models.forward import answer_logps
from alignkit.models.fused_head import core_of, head_of
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.studies import flops
from alignkit.studies.bench import LOGGED, QUICK, Case, by_vocabulary, growth, measure, model_named, plot, table

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench.py"
PAIR = Case(shape="pair", prompt=40, answer=10)


@pytest.fixture(scope="module")
def model():
    return model_named("tiny:llama")


@pytest.fixture(scope="module")
def timings(model):
    cases = [PAIR, *(Case(shape=shape, prompt=20, answer=12, answers=3) for shape in ("group", "kto", "sft"))]
    return list(measure(model, cases, rounds=1))


def test_every_case_is_run_in_three_ways_and_trl_is_the_measure(timings):
    assert [one.way for one in timings] == ["TRL", "rows", "shared"] * 4
    assert all(one.faster == 1 for one in timings if one.way == "TRL")
    assert all(one.than_rows == 1 for one in timings if one.way == "rows")
    assert all(one.seconds > 0 and one.tokens_per_second > 0 for one in timings)


@pytest.mark.parametrize(
    ("recipe", "shape"), [("dpo/tiny", "pair"), ("grpo/tiny", "group"), ("kto/tiny", "kto"), ("nll/tiny", "sft")]
)
def test_a_shape_computes_what_trl_s_trainer_asks_for(recipe, shape, tmp_path):
    run = build(load(recipe, [f"train.output_dir={tmp_path}"]))
    assert head_of(core_of(run.model)).fields == LOGGED[shape]


def test_shared_tokens_are_counted_once(model):
    ((batch, _),) = PAIR.batches(256, "cpu")
    weights = sum(layer.weight.numel() for layer in model.model.modules() if isinstance(layer, nn.Linear))
    per_score = 4 * 8 * 4 * 2  # width of a head, heads, layers
    scores = 49 * 50 // 2 + sum(range(41, 50))
    assert flops.fewest(model, batch) == 2 * weights * (40 + 2 * 9) + per_score * scores
    assert flops.run(model, batch) == 2 * weights * 100 + per_score * 2 * (50 * 51 // 2)
    assert flops.run(model, batch, shared_prefix=True) == 2 * weights * 58 + per_score * (49 * 50 // 2 + 9 * 49)


def test_the_fewest_operations_are_fewer_and_nearly_reached(timings):
    for one in timings:
        assert one.over_fewest >= 1
        assert one.way != "shared" or one.over_fewest < 1.05


def test_the_head_is_counted_apart_and_builds_its_products_twice(model):
    """torch's counter passes over addmm_, with which both heads add up their two gradients."""
    ((batch, _),) = PAIR.batches(256, "cpu")
    for shared in (False, True):
        with FlopCounterMode(display=False) as counter:
            answer_logps(model, batch, shared_prefix=shared).logps.sum().backward()
        model.zero_grad()
        weights = sum(layer.weight.numel() for layer in model.model.modules() if isinstance(layer, nn.Linear))
        backbone = 2 * weights * (58 if shared else 100)
        counts = counter.get_flop_counts()["Global"]
        products = sum(count for name, count in counts.items() if "mm" in name.__name__)
        assert products == 3 * backbone + 2 * flops.head(model, batch, shared_prefix=shared)
    assert flops.head(model, batch, shared_prefix=True) == 2 * model.lm_head.weight.numel() * 20


def test_growth_is_told_from_cases_that_differ_in_one_number(timings):
    two = [
        replace(
            one,
            case=replace(one.case, prompt=2 * one.case.prompt),
            seconds=4 * one.seconds,
            megabytes=2 * one.megabytes,
        )
        for one in timings
    ]
    lines = growth([*timings, *two]).splitlines()
    assert lines[2] == "| pair n + 2 x 10 | prompt | TRL | 2.00 | 1.00 |"
    assert len(lines) == 2 + 4 * 3


def test_memory_of_vocabularies():
    rows = by_vocabulary(replace(PAIR, prompt=8, answer=8), (300, 600)).splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| vocabulary", "|---:|---:|---:|---:|---:|", "| 300", "| 600"]


def test_a_table_and_a_picture_show_all_of_it(timings, tmp_path):
    assert table(timings).count("\n") == 13
    assert "| pair 40 + 2 x 10 | shared |" in table(timings)
    plot(timings, tmp_path / "speed.png", "tiny")
    assert (tmp_path / "speed.png").stat().st_size > 5000


@pytest.mark.smoke
def test_the_script_prints_every_case(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["bench.py", "tiny:llama", "--rounds", "1", "--plot", str(tmp_path / "a.png")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    written = capsys.readouterr().out
    assert all(f"| {case} | shared |" in written for case in QUICK)
    assert (tmp_path / "a.png").exists()
