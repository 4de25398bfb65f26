import json
from pathlib import Path

import datasets
import pytest


@pytest.fixture(autouse=True)
def offline_cache(tmp_path_factory, monkeypatch):
    """Every test has its own cache and no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def write(tmp_path):
    """Writes a file into the recipe's folder: rows as JSON lines, or text or bytes as they are."""

    def write(name: str, content: list | str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write
