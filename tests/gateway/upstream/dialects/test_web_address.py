"""Addresses that a provider could fetch."""

import pytest

from gateway.upstream.dialects.web_address import is_web_address


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.png",
        "HTTP://EXAMPLE.ORG",
        "http://127.0.0.1:8080/a?b=c#d",
        "https://[::1]/a.png",
        "https://user:pass@example.org/",
        "https://例え.jp/写真.png?q=ä",
        "https://example.org/a|b.png",
    ],
)
def test_web_address_has_a_scheme_and_a_host(url: str) -> None:
    assert is_web_address(url)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "https:///a", "https://?a", "https://#a", "http://:80/", "https://user@/a", "https:/a", "https:a",
     "ftp://example.org/", "file:///etc/passwd", "https://a\u0000b", "https://a\r\nb/", "https://a/\tb", "https://a b/",
     " https://a/", "https://a/\n", "https://a/\x7f", "https://a/\x85", "https://a/\u2028", "https://a\\b/", "https://[::1/",
     "https://a:x/", "https://a:0/", "https://a:65536/", "https://a%00b/", "https://<a>/"],
)  # fmt: skip
def test_address_that_no_provider_could_fetch_is_refused(url: str) -> None:
    assert not is_web_address(url)
