"""Flags with one dash or two."""

from pathlib import Path

import pytest

from loadtest.load.arrivals import Shape
from loadtest.load.flag_texts import parse_urls
from loadtest.load.flag_values import parse_duration
from loadtest.load.flags import parse_flags
from loadtest.load.requests import Choice
from loadtest.load.slo import Slo

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
        "html": "out.html",
        "cancel": "0.2",
        "priority": "high=20,low=80",
        "processes": "2",
        "slo": "ttft=500ms,latency=5s",
        "slo-under": "0.9",
        "admin-key": "hidden",
    }
    flags = [f"{dash}verbose", f"{dash}stream"]
    for name, value in values.items():
        flags += [f"{dash}{name}={value}"] if joined else [f"{dash}{name}", value]

    options = parse_flags(flags)

    target, load = options.target, options.load
    assert (target.urls, target.model, target.max_tokens) == (("http://a:1" + CHAT,), "m", 9)
    assert (target.is_stream, target.timeout_s, target.keys) == (True, 10, ("secret",))
    assert target.headers == {"x-pllm-priority": "high"}
    assert (load.concurrent, load.requests, load.rate, load.duration_s) == (5, 6, 7.5, 30)
    assert (load.arrivals, load.seed) == ("constant", 8)
    assert (options.warmup_s, options.is_verbose) == (2, True)
    assert (options.fail_over_ratio, options.json_file) == (0.01, "out.json")
    assert (options.html_file, options.admin_key, options.processes) == ("out.html", "hidden", 2)
    assert (target.give_up_ratio, target.priorities) == (0.2, (Choice("high", 20), Choice("low", 80)))
    assert (options.slo, options.slo_under_ratio) == (Slo(ttft_ms=500, latency_ms=5000), 0.9)


@pytest.mark.parametrize("dash", ["-", "--"])
def test_arrivals_have_a_shape(dash: str) -> None:
    ramp = f"{dash}rps 100 {dash}duration 30s {dash}arrivals ramp {dash}ramp-from 5 {dash}ramp-over 10s"
    spike = f"{dash}rps 100 {dash}arrivals spike {dash}spike-times 4 {dash}spike-at 3s {dash}spike-for 2s"

    assert parse_flags(ramp.split()).load.shape == Shape(ramp_from=5, ramp_s=10)
    assert parse_flags(spike.split()).load.shape == Shape(spike_times=4, spike_at_s=3, spike_s=2)


def test_shape_fills_the_duration_by_default() -> None:
    flags = ["-rps", "9", "-duration", "30s", "-arrivals"]

    assert parse_flags([*flags, "ramp"]).load.shape == Shape(ramp_from=0, ramp_s=30)
    assert parse_flags([*flags, "spike"]).load.shape == Shape(spike_times=10, spike_at_s=10, spike_s=10)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("gpt-4", (Choice("gpt-4"),)),
        ("a=70,b=30", (Choice("a", 70), Choice("b", 30))),
        ("a, b=2", (Choice("a", 1), Choice("b", 2))),
    ],
)
def test_model_is_one_or_a_mix(text: str, shares: tuple[Choice, ...]) -> None:
    assert parse_flags(["-model", text]).target.models == shares


def test_keys_repeat_for_several_tenants() -> None:
    assert parse_flags(["-key", "a", "-key", "b"]).target.keys == ("a", "b")


def test_admin_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLLM_ADMIN_KEY", "hidden")

    assert parse_flags([]).admin_key == "hidden"


def test_broken_admin_key_of_the_environment_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLLM_ADMIN_KEY", "hush\nhush")
    with pytest.raises(SystemExit):
        parse_flags([])

    err = capsys.readouterr().err
    assert "a key is one line of text" in err
    assert "hush" not in err


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


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://a?v=1", "http://a/v1/chat/completions?v=1"),
        ("http://a/v1/?v=1", "http://a/v1/chat/completions?v=1"),
        ("http://a/openai/chat?v=1", "http://a/openai/chat?v=1"),
        ("http://[::1]:8080/#top", "http://[::1]:8080/v1/chat/completions"),
    ],
)
def test_query_stays_behind_the_path(url: str, meant: str) -> None:
    assert parse_flags(["-url", url]).target.urls == (meant,)


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
        (["-rps", "inf"], "inf is infinite"),
        (["-rps", "nan"], "nan is not more than 0"),
        (["-rps", "-5"], "-5 is not more than 0"),
        (["-duration", "9" * 400], "is infinite"),
        (["-url", "http://user:hush@a"], "user and password in an address"),
        (["-json", "/tmp/" + "a" * 300], "cannot be written"),
        (["-json", "a\0b"], "cannot be written"),
        (["-json", "out", "-html", "./out"], "would both be written to out"),
        (["-slo", "latency=1s,latency=2s"], "latency has two limits"),
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
        (["-requests", "1e3"], "not a whole number"),
        (["-requests", "99999999999"], "is more than"),
        (["-rps", "1e12"], "more than 1,000,000 requests/s"),
        (["-rps", "200000"], "more than a process can"),
        (["-processes", "65", "-concurrent", "100"], "at most 64"),
        (["-duration", "10000h"], "more than 30 days"),
        (["-concurrent", "9999999999"], "open files"),
        (["-url", "http://a:99999"], "not an http or https address"),
        (["-url", "http://a..b"], "not an http or https address"),
        (["-url", f"http://{'a' * 70}.com"], "not an http or https address"),
        (["-key", "a\r\nb: 2"], "one line of text"),
        (["-key", ""], "one line of text"),
        (["-url", "http://a b"], "not an http or https address"),
        (["-header", "a: 1\r\nb: 2"], "not a header"),
        (["-header", "a b: 1"], "not a header"),
        (["-header", "a: b\0c"], "not a header"),
        (["-header", "Content-Length: 5"], "is computed from the body"),
        (["-model", ""], "has no name"),
        (["-model", "a\udcff"], "not UTF-8"),
        (["-rps", "5", "-duration", "3s", "-arrivals", "spike", "-spike-at", "3s"], "begin after -duration"),
        (["-model", "a=0,b=1"], "not more than 0"),
        (["-model", "a=x"], "not a number"),
        (["-model", "a,,b"], "not a mix"),
        (["-model", "a=1,a=2"], "has a name twice"),
        (["-priority", "urgent"], "not one of critical, high"),
        (["-cancel", "0.5"], "needs -stream"),
        (["-cancel", "x", "-stream"], "not a number"),
        (["-slo", "ttft"], "not a duration"),
        (["-slo", "speed=3s"], "not one of ttft"),
        (["-slo-under", "0.9"], "needs -slo"),
        (["-arrivals", "ramp"], "needs -rps"),
        (["-rps", "5", "-arrivals", "ramp"], "needs -duration"),
        (["-rps", "5", "-arrivals", "spike", "-spike-at", "3s"], "needs -duration"),
        (["-rps", "200000", "-processes", "2", "-duration", "3s", "-arrivals", "spike"], "the spike would exceed"),
        (["-processes", "20"], "each needs a caller"),
        (["-scenario"], "expected one argument"),
        (["-json", "/nowhere/out.json"], "cannot be written"),
        (["-html", "/"], "cannot be written"),
        (["-admin-key", "a\nb"], "a key is one line"),
    ],
)
def test_wrong_flag_is_explained(flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_flags(flags)

    assert exit_info.value.code == 2
    assert complaint in capsys.readouterr().err


def test_scenario_file_holds_flags_and_those_of_the_command_line_win(tmp_path: Path) -> None:
    file = tmp_path / "nightly.flags"
    file.write_text("# every night\n-rps 50 -duration 1m   # a minute\n-model 'a=70,b=30' -slo ttft=500ms\n-stream\n")
    options = parse_flags(["-scenario", str(file), "-rps", "7"])

    assert (options.load.rate, options.load.duration_s, options.target.is_stream) == (7, 60, True)
    assert options.target.models == (Choice("a", 70), Choice("b", 30))
    assert options.slo == Slo(ttft_ms=500)
    assert parse_flags([f"--scenario={file}"]).load.rate == 50


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"-rps 'five", "No closing quotation"),
        (b"-rsp 5", "unrecognized arguments: --rsp"),
        (b"-rps nan", "not more than 0"),
        (b"-scenario other", "names another scenario"),
        (b"\xff\xfe", "can't decode"),
        (None, "No such file"),
    ],
)
def test_wrong_scenario_file_is_explained(
    text: bytes | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nightly.flags"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(SystemExit) as exit_info:
        parse_flags(["-scenario", str(file)])

    assert exit_info.value.code == 2
    assert complaint in capsys.readouterr().err
