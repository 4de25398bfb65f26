"""Where a model comes from: what a recipe writes, turned into what `from_pretrained` takes."""

import re
from pathlib import Path

from alignkit.models.gguf import converted
from alignkit.models.tiny import tiny

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve(path: str, tokenizer: str | None = None) -> str:
    """A folder on this machine, or the Hub id as it is.

    `package:PACKAGE/FILE.gguf` is a file inside an installed package, converted on first use; `tiny:ARCHITECTURE` is a
    small random model whose vocabulary is that of `tokenizer`, itself a path of any kind. Folders become absolute, so
    that what is saved with a model leads back to it from anywhere.

    Raises:
        ValueError: a path that is neither an existing folder nor the form of a Hub id, or no such package or
            architecture.
    """
    if path.startswith("package:"):
        return str(converted(path.removeprefix("package:")))
    if path.startswith("tiny:"):
        return str(tiny(path.removeprefix("tiny:"), tokenizer and resolve(tokenizer)))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder.absolute())
    if folder.is_file():
        raise ValueError(f"{path} is a file; write the folder that holds the model")
    if not HUB_ID.fullmatch(path):
        raise ValueError(f"{path}: no such folder, and a Hub id has the form owner/name")
    return path
