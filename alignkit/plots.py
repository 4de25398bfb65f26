"""Curves of a run, as a PNG or as SVG inside a page."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PANELS = ("loss", "rewards/accuracies", "rewards/margins", "logps", "mean_token_accuracy", "grad_norm")
ACROSS = 3  # panels in a row
MANY = 2000  # points of a line that become a picture in the SVG, which would have megabytes else

History = Sequence[Mapping[str, float]]  # `trainer.state.log_history`

# Text stays text; without a salt of its own every SVG has other ids; a dollar in a name is no formula.
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "alignkit", "text.parse_math": False}


def plot_history(history: History, path: Path, title: str = "") -> None:
    """Write what a trainer logged to a PNG, a panel per quantity that is there, over steps.

    Raises:
        ValueError: nothing was logged that there is a panel for.
    """
    with mpl.rc_context(_STYLE):
        drawn(history, title).savefig(path, dpi=120)


def plot_disagreement(margins: Sequence[float], spreads: Sequence[float], path: Path) -> None:
    """Write a PNG of pairs: the mean over members of chosen minus rejected reward, and its standard deviation."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for right, label in ((True, "right"), (False, "wrong")):
            points = [(x, y) for x, y in zip(margins, spreads, strict=True) if (x > 0) == right]
            axes.plot([x for x, _ in points], [y for _, y in points], "o", markersize=4, alpha=0.6, label=label)
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set_xlabel("margin, mean of members (standardised reward)")
        axes.set_ylabel("margin, standard deviation of members")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=120)


def plot_best_of_n(curve: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG of the best of n: its reward, and what each member says of it, against the bound on KL.

    A point has `n`, `kl` in nats, `reward`, its `error` or None, and the rewards of the `members` by name.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        kl, reward = [point["kl"] for point in curve], [point["reward"] for point in curve]
        errors = [point["error"] or 0 for point in curve]
        for name in curve[0]["members"] if len(curve[0]["members"]) > 1 else ():
            axes.plot(kl, [point["members"][name] for point in curve], "--", linewidth=0.9, label=name)
        axes.errorbar(kl, reward, errors, marker=".", capsize=2, linewidth=1.4, label="combined reward")
        axes.set_xlabel("KL from the policy, nats (bound)")
        axes.set_ylabel(f"reward of the best of 1 to {curve[-1]['n']} answers")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=120)


def svg_of(history: History) -> str:
    """The same curves as an `<svg>` element that needs nothing from outside. Raises ValueError as well."""
    text = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context(_STYLE):
        drawn(history).savefig(text, format="svg", metadata=nothing)
    return text.getvalue()[text.getvalue().index("<svg") :]  # without the head of a file of its own


def drawn(history: History, title: str = "") -> Figure:
    panels = [name for name in PANELS if keys_of(history, name)]
    if not panels:
        raise ValueError(f"nothing to draw: none of {', '.join(PANELS)} was logged")
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for name, axes in zip(panels, places, strict=False):
        for key in keys_of(history, name):
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            marker = "o" if len(points) < 10 else None
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker=marker, markersize=4, label=key, linewidth=1.2, rasterized=len(points) > MANY)
        axes.set_xlabel("step")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title)
    return figure


def keys_of(history: History, panel: str) -> list[str]:
    """What was logged of a quantity, on the training and on the evaluation set."""
    return sorted({key for entry in history for key in entry if key.removeprefix("eval_").startswith(panel)})
