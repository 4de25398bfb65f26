"""Charts of scores as SVG elements that need nothing from outside."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from alignkit.evaluation.parse import HIGHEST
from alignkit.evaluation.statistics import Interval

COLOURS = ("#3b6fb6", "#d1495b", "#3f8f5b", "#8a5fb0", "#c98a1b", "#4a4a4a")
SIZE, MIDDLE, RADIUS = 460, 230, 150
BAR, LEFT, LENGTH = 22, 150, 380


def radar(series: Mapping[str, Mapping[str, float]]) -> str:
    """A polygon for each model over the categories, from 0 in the middle to 10; empty below three categories."""
    names = list(dict.fromkeys(name for values in series.values() for name in values))
    if len(names) < 3:
        return ""
    angles = [2 * math.pi * i / len(names) - math.pi / 2 for i in range(len(names))]
    parts = [_ring(angles, level / HIGHEST) for level in (2, 4, 6, 8, 10)]
    for name, angle in zip(names, angles, strict=True):
        x, y = _point(angle, 1.15)
        anchor = "middle" if abs(math.cos(angle)) < 0.3 else "start" if math.cos(angle) > 0 else "end"
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    for number, (model, values) in enumerate(series.items()):
        points = [_point(angle, values.get(name, 0) / HIGHEST) for name, angle in zip(names, angles, strict=True)]
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polygon points="{_points(points)}" fill="{colour}" fill-opacity="0.12" stroke="{colour}" '
            f'stroke-width="2"><title>{escape(model)}</title></polygon>'
        )
    return _svg(SIZE, SIZE, parts, "scores by category") + _legend([*series])


def bars(rows: Sequence[tuple[str, Interval]], highest: float = HIGHEST) -> str:
    """A bar for each row with the whisker of its 95 % interval."""
    parts = []
    for number, (name, found) in enumerate(rows):
        y = number * (BAR + 8) + 4
        width, low, high = (LENGTH * value / highest for value in (found.mean, found.low, found.high))
        colour = COLOURS[number % len(COLOURS)]
        middle = y + BAR / 2
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(_short(name))}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}" fill-opacity="0.75">'
            f"<title>{escape(name)}: {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]</title></rect>",
            f'<path d="M{LEFT + low:.1f} {middle}H{LEFT + high:.1f}M{LEFT + low:.1f} {middle - 5}v10'
            f'M{LEFT + high:.1f} {middle - 5}v10" stroke="currentColor" fill="none"/>',
            f'<text x="{LEFT + LENGTH + 8}" y="{middle + 4}">{found.mean:.2f}</text>',
        ]
    return _svg(LEFT + LENGTH + 60, len(rows) * (BAR + 8) + 8, parts, "means with 95 % intervals")


def _point(angle: float, share: float) -> tuple[float, float]:
    return MIDDLE + RADIUS * share * math.cos(angle), MIDDLE + RADIUS * share * math.sin(angle)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _ring(angles: Sequence[float], share: float) -> str:
    points = _points([_point(angle, share) for angle in angles])
    x, y = _point(-math.pi / 2, share)
    label = f'<text x="{x + 4:.1f}" y="{y - 2:.1f}" class="axis">{share * HIGHEST:.0f}</text>'
    return f'<polygon points="{points}" fill="none" stroke="currentColor" stroke-opacity="0.25"/>{label}'


def _legend(names: Sequence[str]) -> str:
    items = (
        f'<li><svg width="12" height="12" role="presentation"><rect width="12" height="12" '
        f'fill="{COLOURS[number % len(COLOURS)]}"/></svg> {escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _short(name: str, limit: int = 20) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
