"""Flags with one dash or two."""

import pytest

from loadtest.flags import parse_duration, parse_flags, parse_urls

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("dash", ["-", "--"])
@pytest.mark.parametrize("joined", [False, True])
def test_every_flag_takes_one_dash_or_two(dash: str, joined: bool) -> None:
    values = {
        "url": "http://a:1",
        "model": "m",
        "concurrent": "5",
        "requests": "6",
        "rps": "7.5",
        "duration": "30s",
        "arrivals": "constant",
        "seed": "8",
        "max-tokens": "9",
        "timeout": "10s",
        "key": "secret",
        "header": "X-Pllm-Priority: high",
        "warmup": "2s",
        "fail-over": "0.01",
        "json": "out.json",
    }
    flags = [f"{dash}verbose", f"{dash}stream"]
    for name, value in values.items():
        flags += [f"{dash}{name}={value}"] if joined else [f"{dash}{name}", value]

    options = parse_flags(flags)

    target, load = options.target, options.load
    assert (target.urls, target.model, target.max_tokens) == (("http://a:1" + CHAT,), "m", 9)
    assert (target.is_stream, target.timeout_s, target.key) == (True, 10, "secret")
    assert target.headers == {"x-pllm-priority": "high"}
    assert (load.concurrent, load.requests, load.rate, load.duration_s) == (5, 6, 7.5, 30)
    assert (load.arrivals, load.seed) == ("constant", 8)
    assert (options.warmup_s, options.is_verbose) == (2, True)
    assert (options.fail_over_ratio, options.json_file) == (0.01, "out.json")


def test_defaults_are_a_short_closed_loop() -> None:
    options = parse_flags([])

    assert options.target.urls == ("http://127.0.0.1:8080" + CHAT,)
    assert (options.load.concurrent, options.load.requests, options.load.rate) == (10, 100, None)
    assert options.target.timeout_s == 120


def test_duration_alone_sets_no_request_limit() -> None:
    assert parse_flags(["-duration", "5s"]).load.requests is None


def test_open_loop_holds_back_only_a_real_backlog() -> None:
    assert parse_flags(["-rps", "10"]).load.concurrent == 1000
    assert parse_flags(["-rps", "10", "-concurrent", "3"]).load.concurrent == 3


def test_urls_repeat_and_split_at_commas() -> None:
    options = parse_flags(["-url", "http://a,http://b/v1", "--url", "https://c/x/chat"])

    assert options.target.urls == ("http://a" + CHAT, "http://b" + CHAT, "https://c/x/chat")


@pytest.mark.parametrize("url", ["http://a", "http://a/", "http://a/v1", "http://a/v1/", "http://a" + CHAT])
def test_host_v1_and_full_path_mean_the_same(url: str) -> None:
    assert parse_urls(url) == ["http://a" + CHAT]


def test_headers_repeat_and_may_contain_colons() -> None:
    options = parse_flags(["-header", "a: 1", "-header", "b:http://x"])

    assert options.target.headers == {"a": "1", "b": "http://x"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("250ms", 0.25), ("1m30s", 90), ("2m", 120), ("1h", 3600), ("1.5s", 1.5), ("7", 7), ("0.5", 0.5)],
)
def test_durations_read_like_those_of_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-duration", "soon"], "not a duration"),
        (["-duration", "0s"], "not more than 0"),
        (["-duration", "5s!"], "not a duration"),
        (["-rps", "0"], "not more than 0"),
        (["-rps", "inf"], "not more than 0"),
        (["-rps", "many"], "invalid"),
        (["-requests", "0"], "less than 1"),
        (["-concurrent", "-3"], "-concurrent"),
        (["-url", "localhost:8080"], "not an http or https address"),
        (["-url", "http://a,,http://b"], "not an http or https address"),
        (["-header", "no colon"], "not a header"),
        (["-fail-over", "2"], "not between 0 and 1"),
        (["-arrivals", "bursts"], "invalid choice"),
        (["-dur", "3s"], "unrecognized arguments"),
        (["--dur", "3s"], "unrecognized arguments"),
        (["-concurrent"], "expected one argument"),
    ],
)
def test_wrong_flag_is_explained(flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_flags(flags)

    assert exit_info.value.code == 2
    assert complaint in capsys.readouterr().err
