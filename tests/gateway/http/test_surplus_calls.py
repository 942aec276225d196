import pytest

from gateway.http.surplus_calls import LOG_EVERY_S, SurplusCalls


def test_flood_is_counted_and_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    calls = SurplusCalls(lambda: now[0])
    for _ in range(500):
        calls.note()
    now[0] += LOG_EVERY_S
    calls.note()

    assert calls.count == 501
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["1", "500"]
