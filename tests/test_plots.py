import math
import xml.etree.ElementTree as ET

import pytest

from alignkit.plots import MANY, drawn, plot_disagreement, plot_history, svg_of

PAIRS = [
    {"loss": 0.7, "rewards/margins": 0.0, "logps/chosen": -20.0, "logps/rejected": -19.0, "step": 1},
    {"eval_loss": 0.69, "eval_rewards/margins": 0.1, "step": 1},
    {"loss": 0.5, "rewards/margins": 0.4, "logps/chosen": -18.0, "logps/rejected": -23.0, "step": 2},
    {"train_loss": 0.6, "train_runtime": 3.0, "step": 2},
]


def lines(history):
    return {
        axes.get_title(): {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
        for axes in drawn(history).axes
        if axes.lines
    }


def test_a_panel_for_each_quantity_and_a_line_for_each_set():
    assert lines(PAIRS) == {
        "loss": {"loss": [[1, 0.7], [2, 0.5]], "eval_loss": [[1, 0.69]]},
        "rewards/margins": {"rewards/margins": [[1, 0.0], [2, 0.4]], "eval_rewards/margins": [[1, 0.1]]},
        "logps": {"logps/chosen": [[1, -20], [2, -18]], "logps/rejected": [[1, -19], [2, -23]]},
    }


def test_unused_places_of_the_grid_stay_empty():
    full = [{**entry, "grad_norm": 1.0} for entry in PAIRS]
    assert [axes.axison for axes in drawn(full).axes] == [True] * 4 + [False] * 2


def test_nothing_logged_is_said():
    with pytest.raises(ValueError, match="nothing to draw: none of loss, "):
        svg_of([{"train_runtime": 1.0, "step": 1}])


def test_values_that_are_no_numbers_leave_gaps():
    history = [{"loss": value, "step": step} for step, value in enumerate([math.nan, 1.0, math.inf, 2.0])]
    assert "<path" in svg_of(history)


def test_the_svg_stands_alone_and_repeats_itself():
    text = svg_of(PAIRS)
    root = ET.fromstring(text)
    assert root.tag.endswith("svg")
    assert text == svg_of(PAIRS)
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "loss" in text, "text is text"


def test_long_runs_stay_small():
    history = [{"loss": float(step * 7919 % 1009), "step": step} for step in range(10 * MANY)]
    text = svg_of(history)
    assert "data:image/png;base64," in text
    assert len(text) < 200_000


def test_a_png(tmp_path):
    plot_history(PAIRS, tmp_path / "curves.png", "org/model costs $5 or $6")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_disagreement_is_drawn_with_or_without_wrong_pairs(tmp_path):
    for margins in ([1.0, -0.5], [1.0, 0.5]):
        plot_disagreement(margins, [0.1, 0.2], tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "plot.png").unlink()
