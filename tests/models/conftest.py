"""A model cache of the test session's own, so that nothing is read from or left in the user's."""

import pytest


@pytest.fixture(scope="session")
def cache_of_session(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(cache_of_session, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(cache_of_session))
    return cache_of_session
