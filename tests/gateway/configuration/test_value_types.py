import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.configuration.value_types import Secret, duration_ms, size_bytes, yaml_key

# A loaded machine must neither fail an example for being late nor try others than the last run did.
REPEATABLE = hypothesis_settings(deadline=None, derandomize=True)


@REPEATABLE
@given(st.integers(0, 10**9))
def test_duration_in_any_unit_comes_back_in_milliseconds(amount: int) -> None:
    written = [f"{amount}ms", f"{amount}s", f"{amount} m", f"{amount}h"]

    assert [duration_ms(text) for text in written] == [
        amount,
        amount * 1_000,
        amount * 60_000,
        amount * 3_600_000,
    ]


@REPEATABLE
@given(st.integers(0, 10**9))
def test_number_or_text_without_unit_is_seconds(milliseconds: int) -> None:
    assert duration_ms(milliseconds / 1_000) == milliseconds
    assert duration_ms(f"{milliseconds / 1_000:.3f}") == milliseconds


def test_fraction_of_a_second_is_kept() -> None:
    assert duration_ms("1.5s") == 1_500


@pytest.mark.parametrize(
    "value",
    ["", "s", "5 minutes", "-1s", "1e3", "1s 5", "s1", "1.s", "٣s", True, None, [], math.nan, math.inf, "9" * 400],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        duration_ms(value)


@REPEATABLE
@given(st.integers(0, 10**6))
def test_size_in_any_unit_comes_back_in_bytes(amount: int) -> None:
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

    assert [size_bytes(f"{amount}{unit}") for unit in units] == [amount * unit for unit in units.values()]


@REPEATABLE
@given(st.integers(0, 10**12))
def test_number_is_a_size_in_bytes(amount: int) -> None:
    assert size_bytes(amount) == amount


@pytest.mark.parametrize("value", ["", "MiB", "10 mib", "10M", "-1KB", False, None, {}])
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        size_bytes(value)


@REPEATABLE
@given(st.text(min_size=1))
def test_secret_never_shows_in_a_repr(text: str) -> None:
    class Holder(msgspec.Struct, frozen=True):
        key: Secret

    assert repr(Holder(Secret(text))) == f"{Holder.__qualname__.split('.')[-1]}(key=Secret(***))"


def test_secret_is_still_the_text_it_hides() -> None:
    assert f"Bearer {Secret('sk-1')}" == "Bearer sk-1"


def test_empty_secret_shows_that_it_is_empty() -> None:
    assert repr(Secret("")) == "Secret('')"


@pytest.mark.parametrize(("field", "key"), [("timeout_ms", "timeout"), ("max_body_bytes", "max_body"), ("rpm", "rpm")])
def test_yaml_key_is_the_field_without_its_unit(field: str, key: str) -> None:
    assert yaml_key(field) == key
