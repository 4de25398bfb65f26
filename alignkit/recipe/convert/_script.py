"""Which of TRL's scripts a file is for. The file itself does not say."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCRIPTS = ("dpo", "sft", "kto")
_OTHERS = ("grpo", "orpo", "cpo", "simpo", "rloo", "ppo", "reward", "gkd", "nash", "xpo")  # known, and not converted

# script: keys that others do not have, but for DPO's beta
_OWN: Mapping[str, tuple[str, ...]] = {
    "dpo": ("f_divergence_type", "rpo_alpha", "ld_alpha", "use_weighting", "discopop_tau", "padding_free", "beta"),
    "sft": ("packing", "max_seq_length", "dataset_text_field", "completion_only_loss", "assistant_only_loss"),
    "kto": ("desirable_weight", "undesirable_weight"),
    "grpo": ("num_generations", "reward_funcs", "reward_model_name_or_path", "reward_weights"),
}
_LOSSES = {"kto": "kto", "apo_zero_unpaired": "kto", "nll": "sft", "chunked_nll": "sft", "dft": "sft"}
_LOSSES |= dict.fromkeys(("grpo", "bnpo", "dr_grpo", "dapo", "cispo"), "grpo")
_NAMED = ("output_dir", "hub_model_id", "run_name")


def script_of(file: Path, keys: Mapping[str, Any]) -> str:
    """One of SCRIPTS, from the file's name, its loss, its folders, its keys, and what it calls its output, in order.

    Raises:
        ValueError: none of these says, or they say a script that is not converted.
    """
    folders = [folder.name for folder in file.absolute().parents][:2]
    found = (
        _word([file.stem])
        or _loss(keys.get("loss_type"))
        or _word(folders)  # before the keys: ORPO has a beta too
        or _owner(keys)
        or _word(str(keys[key]) for key in _NAMED if key in keys)
    )
    if found is None:
        raise ValueError(f"{file} does not say which script it is for; write --script {' or --script '.join(SCRIPTS)}")
    if found not in SCRIPTS:
        raise ValueError(
            f"{file} looks like a file for {found.upper()}, which is not converted; "
            f"if it is for {' or '.join(SCRIPTS)}, write --script NAME"
        )
    return found


def _loss(loss: Any) -> str | None:
    return _LOSSES.get(loss, "dpo") if isinstance(loss, str) else None


def _owner(keys: Mapping[str, Any]) -> str | None:
    """The script with a key of its own; the last one, since KTO and GRPO have DPO's beta too."""
    owners = [script for script, own in _OWN.items() if any(key in keys for key in own)]
    return owners[-1] if owners else None


def _word(texts: Iterable[str]) -> str | None:
    """The last script named in the first text that names any: a DPO run often starts from an SFT model."""
    for text in texts:
        words = re.split(r"[^a-z]+", text.lower())
        if named := [word for word in words if word in (*SCRIPTS, *_OTHERS)]:
            return named[-1]
    return None
