"""Tests may import anything; nothing imports them."""
