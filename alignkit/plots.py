"""Curves of a run as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PANELS = ("loss", "rewards/accuracies", "rewards/margins", "logps", "mean_token_accuracy", "grad_norm")


def plot_history(history: Sequence[Mapping[str, float]], path: Path, title: str = "") -> None:
    """Draw what a trainer logged (`trainer.state.log_history`), a panel per quantity that is there, over steps."""
    panels = [name for name in PANELS if any(key.startswith(name) for entry in history for key in entry)]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        keys = sorted({key for entry in history for key in entry if key.removeprefix("eval_").startswith(name)})
        for key in keys:
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 10 else None, label=key, linewidth=1.2)
        axes.set_xlabel("step")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
