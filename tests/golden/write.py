"""Writes the golden table: what every objective computes on its sample, float64, twelve digits.

`python -m tests.golden.write` from the root. Hyperparameters of a row are kept; a new objective gets a row with its
defaults. Say in the commit why a row changed.
"""

import json
from pathlib import Path
from typing import Any

from alignkit.objectives import make, names
from tests.objectives.properties import LEARNED, gradients
from tests.objectives.samples import sample

TABLE = Path(__file__).parent / "objectives.json"


def read() -> dict[str, Any]:
    return json.loads(TABLE.read_text()) if TABLE.exists() else {}


def row(name: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one objective."""
    objective = make(name, **hyperparameters)
    batch = sample(objective)
    result = objective(batch)
    learned = zip(LEARNED[type(batch)], gradients(objective, batch), strict=True)
    return {
        "hyperparameters": hyperparameters,
        "loss": objective.loss(batch).item(),
        "count": result.count.item(),
        "terms": result.terms.flatten().tolist(),
        "gradients": {field: gradient.flatten().tolist() for field, gradient in learned},
    }


def digits(value: Any) -> Any:
    """Every float to twelve digits."""
    if isinstance(value, dict):
        return {key: digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [digits(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


def main() -> None:
    old = read()
    new = {name: digits(row(name, old.get(name, {}).get("hyperparameters", {}))) for name in names()}
    lines = ",\n".join(f'  "{name}": {json.dumps(numbers)}' for name, numbers in new.items())
    TABLE.write_text(f"{{\n{lines}\n}}\n")
    changed = [name for name in new if new[name] != old.get(name)]
    print(f"{len(new)} rows, changed: {', '.join(changed) or 'none'}")


if __name__ == "__main__":
    main()
