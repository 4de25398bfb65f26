"""Images of rows: found, checked and carried as the bytes or the path that they came as, never encoded again.

A row has them in `images`, or one in `image`: paths, relative to the file that names them, or what datasets' Image type
holds. They stand before the first user message; a row that places them there itself (`{type: image}` before one text)
says the same, and one that places them elsewhere is refused.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, Image, IterableDataset, List
from PIL import Image as Picture

from alignkit.data.errors import BadRow

NAMES = ("images", "image")
CONVERSATIONS = ("prompt", "messages", "conversations", "chosen")  # where a row has its first user message

AnyDataset = TypeVar("AnyDataset", Dataset, IterableDataset)
Row = Mapping[str, Any]


def has_images(row: Row) -> bool:
    return any(row.get(name) for name in NAMES)


def carried_images(row: Row) -> list[dict[str, Any]]:
    """The images of a row, each as {bytes, path}. Raises BadRow for one that cannot be opened, or is placed apart."""
    given = [name for name in NAMES if row.get(name)]
    if len(given) > 1:
        raise BadRow("not carried", "image beside images; keep one of the two")
    value = row[given[0]] if given else []
    items = value if isinstance(value, list) else [value]
    images = [checked_image(item, f"image {number}") for number, item in enumerate(items, start=1)]
    check_placed(row, len(images))
    return images


def checked_image(value: Any, name: str) -> dict[str, Any]:
    image = {"path": value} if isinstance(value, str) else value
    if not isinstance(image, dict) or not (image.get("bytes") or image.get("path")):
        raise BadRow("not an image", f"{name} is neither a path nor what datasets' Image type holds")
    content, path = image.get("bytes"), image.get("path") or ""
    if not isinstance(path, str):
        raise BadRow("not an image", f"{name} has a path that is no text")
    if not content and "://" in path:
        raise BadRow("not an image", f"{name} is the address {path}; download it and give the file's path")
    try:
        with Picture.open(io.BytesIO(content) if content else str(path)) as picture:
            picture.verify()
    except FileNotFoundError as error:
        raise BadRow("missing image", str(path)) from error
    except Exception as error:  # every format of Pillow has its own way to fail
        raise BadRow("not an image", f"{name} cannot be opened: {path or 'bytes'}") from error
    return {"bytes": content, "path": path or None}


def check_placed(row: Row, count: int) -> None:
    """Refuse messages that hold another number of images than the row, or hold them after the first user message."""
    for name in CONVERSATIONS:
        value = row.get(name)
        messages = value if isinstance(value, list) else []
        held = [image_parts(message) for message in messages]
        if not any(held):
            continue
        roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
        first = next((i for i, role in enumerate(roles) if role in ("user", "human")), -1)
        if any(number for i, number in enumerate(held) if i != first):
            raise BadRow("not carried", f"images of {name} after its first user message")
        if sum(held) != count:
            raise BadRow("wrong number of images", f"{sum(held)} in {name}, {count} beside it")
        return


def image_parts(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    return sum(isinstance(part, dict) and part.get("type") == "image" for part in parts)


def text_of(parts: Sequence[Any], name: str) -> Any:
    """The text of a message whose content is written in parts: images, then one text."""
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise BadRow("not text", f"{name} is a list")
    kinds = [str(part.get("type")) for part in parts]
    if kinds[-1] != "text" or set(kinds[:-1]) - {"image"}:
        raise BadRow("not carried", f"{name} is made of {', '.join(kinds)}; known are images, then one text")
    return parts[-1].get("text")


def absolute(row: Row, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The row with its images' paths, relative to `folder`, made absolute."""
    return {key: _absolute(value, folder) if key in names else value for key, value in row.items()}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if isinstance(value, dict) and value.get("path") and not value.get("bytes"):
        return {**value, "path": _absolute(value["path"], folder)}
    return str(folder / value) if isinstance(value, str) and value and "://" not in value else value


def undecoded(dataset: AnyDataset) -> AnyDataset:
    """The dataset with its images as bytes or paths: decoding and encoding again would change them."""
    for name, kind in (dataset.features or {}).items():
        if isinstance(kind, Image):
            dataset = dataset.cast_column(name, Image(decode=False))
        elif isinstance(kind, List) and isinstance(kind.feature, Image):
            dataset = dataset.cast_column(name, List(Image(decode=False)))
    return dataset
