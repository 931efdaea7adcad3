from __future__ import annotations

import pytest

from headstart.errors import ConfigError
from headstart.stac.sign_in import SignIn, shown

CATALOGUE = "https://stac.example.org/v1"


def test_a_token_goes_to_the_catalogue_and_to_no_other_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "secret")
    monkeypatch.setenv("HEADSTART_STAC_HEADERS", "X-Key: 1; X-Other: a, b")
    sign_in = SignIn.from_environment(CATALOGUE)
    assert sign_in.headers_for("https://stac.example.org/other") == {
        "Authorization": "Bearer secret",
        "X-Key": "1",
        "X-Other": "a, b",
    }
    for other in (
        "https://example.org/v1",
        "https://stac.example.org.evil.test/v1",
        "https://stac.example.org:8443/v1",
        "http://stac.example.org/v1",
        "https://stac.example.org@evil.test/v1",
        "/etc/passwd",
    ):
        assert sign_in.headers_for(other) == {}


def test_asset_headers_go_to_the_host_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HEADSTART_STAC_ASSET_HEADERS", "data.example.org X-Key: 1; localhost:8080 X-Key: 2"
    )
    sign_in = SignIn.from_environment(CATALOGUE)
    assert sign_in.headers_for("https://data.example.org/a.tif") == {"X-Key": "1"}
    assert sign_in.headers_for("http://localhost:8080/a.tif") == {"X-Key": "2"}
    assert sign_in.headers_for("http://localhost/a.tif") == {}
    assert sign_in.headers_for(CATALOGUE) == {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADSTART_STAC_HEADERS", "hunter2"),
        ("HEADSTART_STAC_HEADERS", "X-Key: hunter2\r\nX-Evil: 1"),
        ("HEADSTART_STAC_TOKEN", "hunter2\nX-Evil: 1"),
        ("HEADSTART_STAC_ASSET_HEADERS", "X-Key: hunter2"),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused_without_showing_it(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        SignIn.from_environment(CATALOGUE)
    assert variable in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_sign_in_does_not_show_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "hunter2")
    monkeypatch.setenv("HEADSTART_STAC_ASSET_HEADERS", "a.example.org X-Key: hunter3")
    text = repr(SignIn.from_environment(CATALOGUE))
    assert "hunter" not in text


def test_an_address_is_shown_without_password_and_signature() -> None:
    assert (
        shown("https://me:pass@example.org:8443/a.tif?sig=1#x") == "https://example.org:8443/a.tif"
    )


def test_a_sign_in_without_encryption_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "secret")
    assert "without encryption" in str(SignIn.from_environment("http://example.org").caution)
    assert SignIn.from_environment("http://127.0.0.1:8000").caution is None
    assert SignIn.from_environment(CATALOGUE).caution is None
