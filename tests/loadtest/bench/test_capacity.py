"""`make capacity`: invalid flags are refused before anything is measured."""

import pytest

from loadtest.bench.capacity import main


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--seconds", "nan"), ("--seconds", "-1"), ("--rate", "nan"), ("--rate", "1e9"), ("--streams", "0")],
)
def test_impossible_number_is_refused(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main([flag, value])

    assert ending.value.code == 2
    assert f"{flag}: from 1 to" in capsys.readouterr().err
