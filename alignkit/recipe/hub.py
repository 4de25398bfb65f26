"""Pushing to the Hub, which happens only where `train.push_to_hub` asks for it; TRL's trainers do it."""

from pathlib import Path

from accelerate import PartialState
from huggingface_hub import HfApi, get_token
from transformers import TrainingArguments


def make_repository(args: TrainingArguments) -> None:
    """Make the repository that will be pushed to, before a model is loaded; the trainer finds it there.

    Raises:
        ValueError: nobody is logged in, or the Hub refuses; TRL would end in a traceback after the model was loaded.
    """
    if not args.push_to_hub or not PartialState().is_main_process:
        return
    if get_token() is None:
        raise ValueError("train.push_to_hub needs a login; run hf auth login, set HF_TOKEN, or remove push_to_hub")
    name = args.hub_model_id or Path(str(args.output_dir)).absolute().name
    try:
        HfApi().create_repo(name, private=args.hub_private_repo, exist_ok=True)
    except Exception as error:  # no network, no permission, no such name: unrelated classes, all of them the user's
        raise ValueError(
            f"train.push_to_hub: the Hub does not give {name}: {error}\nCheck train.hub_model_id, which has the form "
            "owner/name, and what the token may do; or remove push_to_hub"
        ) from error
