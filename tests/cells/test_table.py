"""The tables of what runs where say what the rows say, and the page says what the tables say."""

import re

import pytest

from tests.cells.table import CHOICES, END, PAGE, RESULTS, START, check, latest, lines, page, read, table

ROW = {
    "trainer": "pairs",
    "distribution": "DDP",
    "parameters": "full",
    "device": "CPU",
    "status": "equal",
    "date": "2026-11-27",
    "commit": "abc1234",
}


def row(**changes):
    return {**ROW, **changes}


def test_the_page_shows_the_results_that_are_kept():
    rows = read(RESULTS)
    assert RESULTS.read_text(encoding="utf-8") == lines(rows)
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text, rows), "run make cells"


def test_a_table_claims_what_ran_and_nothing_else():
    rows = [row(), row(trainer="SFT", distribution="one process", status="trains"), row(device="H100", commit="def")]
    said = table(rows, "CPU").splitlines()
    assert said[0] == "| trainer | one process | DDP |"
    assert "| SFT, full | trains, 2026-11-27, `abc1234` | not run |" in said
    assert "| pairs, full | not run | equal, 2026-11-27, `abc1234` |" in said
    assert said[-1] == (
        "Never run on a CPU: KTO, SRPO, reward, RL, LoRA, QLoRA, ZeRO-2, ZeRO-3, FSDP2, vLLM colocated, vLLM server."
    )
    assert "| pairs, full | equal, H100, 2026-11-27, `def` |" in table(rows, "GPU").splitlines()
    assert table([], "GPU") == "No test has run on a GPU.\n"


def test_everything_that_ran_needs_no_list_of_what_did_not():
    every = [
        row(trainer=trainer, parameters=parameters, distribution=where)
        for trainer in CHOICES["trainer"]
        for parameters in CHOICES["parameters"]
        for where in CHOICES["distribution"]
    ]
    said = table(every[::-1], "CPU")
    assert "Never" not in said
    assert "not run" not in said
    assert len(latest(every)) == len(lines(every).splitlines()) == 6 * 3 * 7
    assert lines(every) == lines(every[::-1])


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        (["equal", "trains"], "equal"),
        (["trains", "failed", "equal"], "failed"),
        (["trains", "not run"], "trains"),
    ],
)
def test_of_tests_that_ran_together_the_worst_counts_then_the_larger_claim(statuses, shown):
    (found,) = latest(row(status=status) for status in statuses).values()
    assert found["status"] == shown


def test_the_last_run_counts():
    (found,) = latest([row(status="failed"), row(commit="def5678")]).values()
    assert (found["status"], found["commit"]) == ("equal", "def5678")
    assert latest([row(status="not run")]) == {}


def test_a_cell_that_no_table_has_is_refused():
    message = "cell(distribution='zero2'): choose from one process, DDP, ZeRO-2, ZeRO-3, FSDP2, "
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        check(row(distribution="zero2"))


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match=r"^no place for the tables: write <!-- what ran"):
        page("# Clusters\n", [])
    assert page(f"a\n{START}old\n{END}b\n", []).startswith(f"a\n{START}\n### On CPUs\n\nNo test has run on a CPU.\n")
