import pytest

from alignkit.remote import Client, Endpoint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "url = 'localhost:8000' is no http:// or https:// address"),
        ({"url": "http://"}, "url = 'http://' is no http:// or https:// address"),
        ({"tries": 0}, "tries = 0 must be positive"),
        ({"requests_per_minute": 0}, "requests_per_minute = 0 must be positive; null sets no limit"),
    ],
)
def test_what_cannot_be_used_is_refused(settings, message):
    with pytest.raises(ValueError, match=r"must be|is no") as caught:
        Endpoint(**settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("url", ["https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_a_key_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="a key belongs in an environment variable") as caught:
        Endpoint(url=url)
    assert "https://host/v1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_that_is_missing_or_broken_is_named_by_its_variable(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="needs a key; put it into the environment variable OPENAI_API_KEY"):
        Client(Endpoint())
    monkeypatch.setenv("OPENAI_API_KEY", "sk secret\nX: y")
    with pytest.raises(ValueError, match="the environment variable OPENAI_API_KEY holds characters") as caught:
        Client(Endpoint())
    assert "secret" not in str(caught.value)
    assert Endpoint(url="http://localhost:1/v1").key() == "none"
