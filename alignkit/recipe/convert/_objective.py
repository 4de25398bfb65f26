"""The loss of a script, as an objective."""

from typing import Any

from alignkit.recipe.convert._translation import Translation


def translate_objective(translation: Translation, script: str) -> None:
    """Write the `objective` section.

    Raises:
        ValueError: a loss that no objective computes. Another in its place would be another experiment.
    """
    losses = translation.take("loss_type") or _DEFAULT[script]
    losses = losses if isinstance(losses, list) else [losses]
    section = _LOSSES[script](translation, losses[0]) if len(losses) == 1 else None
    if section is None:
        raise ValueError(
            f"loss_type = {', '.join(map(str, losses))} of TRL's {script} script is no objective of alignkit; "
            "see `alignkit list`, and begin with `alignkit new METHOD`"
        )
    translation.recipe["objective"] = section


def _pairs(translation: Translation, loss: Any) -> dict[str, Any] | None:
    beta = translation.take("beta", 0.1)
    smoothing = translation.take("label_smoothing", 0.0)
    if loss == "robust":
        return {"name": "robust_dpo", "beta": beta, "flip_rate": smoothing, "form": "unbiased"}
    if smoothing:
        _smoothed(translation, loss, beta, smoothing)
    if loss == "ipo":  # TRL divides each log-ratio by its tokens, and calls tau beta
        return {"name": "ipo", "tau": beta, "normalize": "token"}
    return {"name": "dpo", "beta": beta} if loss == "sigmoid" else None


def _smoothed(translation: Translation, loss: Any, beta: Any, smoothing: Any) -> None:
    instead = ""
    if loss == "sigmoid":
        instead = f"objective: {{name: robust_dpo, beta: {beta}, flip_rate: {smoothing}, form: conservative}}"
        translation.comments += [
            "TRL 1.16 ignores label_smoothing; for conservative DPO, as in older releases:",
            instead,
        ]
        instead = f"for conservative DPO, as in older releases, write {instead}"
    translation.leave("label_smoothing", f"has no effect on the loss {loss} of TRL 1.16", instead)


def _texts(translation: Translation, loss: Any) -> dict[str, Any] | None:
    if loss == "dft":
        return {"name": "mixce", "eta": 0.0}
    return {"name": "nll"} if loss in ("nll", "chunked_nll") else None


def _unpaired(translation: Translation, loss: Any) -> dict[str, Any] | None:
    if loss != "kto":
        return None
    weights = {key: translation.take(key, 1.0) for key in ("desirable_weight", "undesirable_weight")}
    return {"name": "kto", "beta": translation.take("beta", 0.1), **weights}


_LOSSES = {"dpo": _pairs, "sft": _texts, "kto": _unpaired}
_DEFAULT = {"dpo": "sigmoid", "sft": "nll", "kto": "kto"}
