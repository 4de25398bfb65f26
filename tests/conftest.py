"""Models that tests need are built once and kept beside pytest's own cache, never in the user's."""

import pytest


@pytest.fixture(autouse=True)
def model_cache(request, monkeypatch):
    """Folder that ALIGNKIT_CACHE names while a test runs."""
    folder = request.config.cache.mkdir("alignkit")
    monkeypatch.setenv("ALIGNKIT_CACHE", str(folder))
    return folder
