"""Figures of scripted judgments whose right values are plain."""

import json

import pytest

from alignkit.evaluation import Folder, write_report
from alignkit.evaluation.markdown import headline, markdown
from alignkit.evaluation.records import read_records
from alignkit.evaluation.report import make_report
from tests.evaluation.scripted import judged


def better_b(text):
    return "Rating: [[8]]" if "longer" in text else "Rating: [[4]]"


def test_means_by_turn_category_and_model(tmp_path):
    def say(text):
        return "[[9]]" if "a2" in text and "b2" not in text else better_b(text)

    folder, _ = judged(tmp_path, say)
    (judge,) = make_report(read_records(folder)).judges
    b, a = judge.models
    assert (b.model, b.overall.mean, b.overall.low, b.overall.high) == ("b", 8.0, 8.0, 8.0)
    assert {name: found.mean for name, found in a.categories.items()} == {"writing": 4.0, "math": 9.0, "stem": 4.0}
    assert {turn: found.mean for turn, found in a.turns.items()} == {1: 17 / 3, 2: 17 / 3}
    assert (a.graded, a.ungraded, a.missing, a.words, b.words) == (6, 0, 0, 1.0, 2.0)
    (compared,) = judge.comparisons
    assert compared.models == ("a", "b")
    assert compared.scores.difference == pytest.approx(8 - 17 / 3)
    assert compared.win_rate == pytest.approx(4 / 6)


def test_what_is_not_graded_is_in_every_headline(tmp_path):
    folder, _ = judged(tmp_path, lambda text: "I pass." if "a1" in text else better_b(text))
    folder.answers("c").write_text(folder.answers("a").read_text().splitlines()[0] + "\n")
    report, _ = write_report(folder, "test")
    (judge,) = report.judges
    a = next(one for one in judge.models if one.model == "a")
    assert (a.graded, a.ungraded, a.overall.mean) == (4, 2, 4.0)
    for text in (headline(report), markdown(report), (tmp_path / "report.html").read_text()):
        assert "2 of 6" in text
    assert json.loads((tmp_path / "report.json").read_text())["judges"][0]["judge"] == "judge"


def test_a_model_without_a_single_rating_has_none(tmp_path):
    folder, _ = judged(tmp_path, lambda text: "no")
    report, _ = write_report(folder, "test")
    assert [one.overall for one in report.judges[0].models] == [None, None]
    assert "| a     | none |" in headline(report)


def test_win_rates_with_ties(tmp_path):
    def say(text):
        if "ask 1" in text:
            return "[[A]]" if text.index("\na1") < text.index("\nb1") else "[[B]]"
        return "[[C]]"

    folder, _ = judged(tmp_path, say, pairs=[("a", "b")])
    (pair,) = make_report(read_records(folder)).judges[0].pairs
    assert (pair.wins, pair.ties, pair.losses, pair.ungraded, pair.missing) == (2, 4, 0, 0, 0)
    assert pair.win_rate.mean == pytest.approx((2 + 2) / 6)
    assert pair.consistency == 1.0
    assert pair.first_shown == 0.5
    assert pair.warning is None


@pytest.mark.parametrize(("letter", "side"), [("A", "first"), ("B", "second")])
def test_a_judge_that_always_names_one_place_gives_ties_and_a_loud_warning(tmp_path, letter, side):
    folder, _ = judged(tmp_path, lambda text: f"[[{letter}]]", pairs=[("a", "b")])
    report, _ = write_report(folder, "test")
    (pair,) = report.judges[0].pairs
    assert (pair.wins, pair.ties, pair.losses, pair.consistency) == (0, 6, 0, 0.0)
    assert report.warnings == (
        f"judge: the judge prefers the answer shown {side} in 100% of its verdicts; 0 of 6 matches are decided, "
        "the rest is ties",
    )
    assert report.warnings[0] in markdown(report)
    assert report.warnings[0] in (tmp_path / "report.html").read_text()


def test_judges_are_compared(tmp_path):
    judged(tmp_path, better_b, name="one")
    folder, _ = judged(tmp_path, lambda text: better_b(text) if "a3" not in text else "[[5]]", name="two")
    (found,) = make_report(read_records(folder)).agreement
    assert (found.judges, found.mode, found.matches) == (("one", "two"), "single", 12)
    assert found.same == pytest.approx(10 / 12)
    assert 0 < found.kappa < 1
    assert found.correlation > 0.9
    assert "## Agreement between judges" in markdown(make_report(read_records(folder)))


def test_rows_of_fastchat_itself_are_read(tmp_path):
    folder, _ = judged(tmp_path, better_b)
    file = tmp_path / "model_judgment" / "gpt-4_single.jsonl"
    row = {"question_id": 1, "model": "a", "judge": ["gpt-4", "single-v1"], "judgment": "x", "turn": 1}
    file.write_text(json.dumps({**row, "score": 3}) + "\n" + json.dumps({**row, "turn": 2, "score": -1}) + "\n")
    report = make_report(read_records(folder))
    (found,) = next(judge for judge in report.judges if judge.judge == "gpt-4").models
    assert (found.overall.mean, found.graded, found.ungraded, found.missing) == (3.0, 1, 1, 4)


def test_a_folder_without_an_evaluation(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*question.jsonl"):
        write_report(Folder(tmp_path), "test")
