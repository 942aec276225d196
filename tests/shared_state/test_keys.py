"""Keys: one slot for a whole domain, no two things under one name, words a reader understands."""

from redis.crc import key_slot

from shared_state.keys import Keys

IDS = ("gpt-4", "org/model:8k", "with space", "{braces}", "grün")


def all_keys(keys: Keys) -> list[bytes]:
    single = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, keys.replicas]
    return single + [key for name in IDS for key in keys.candidate(name)] + [keys.replica(name) for name in IDS]


def test_all_keys_of_a_domain_live_in_one_slot() -> None:
    assert len({key_slot(key) for key in all_keys(Keys("default"))}) == 1


def test_domains_are_spread() -> None:
    assert len({key_slot(Keys(f"domain-{k}").domain) for k in range(50)}) > 40


def test_no_two_things_share_a_key() -> None:
    keys = all_keys(Keys("default")) + all_keys(Keys("other"))

    assert len(keys) == len(set(keys))


def test_key_reads_as_words() -> None:
    keys = Keys("default")

    assert keys.domain == b"pllm:{default}:global"
    assert keys.candidate("gpt-4") == (
        b"pllm:{default}:deployment:gpt-4",
        b"pllm:{default}:leases:gpt-4",
        b"pllm:{default}:window:gpt-4",
    )


def test_every_key_begins_with_the_prefix_of_its_domain() -> None:
    keys = Keys("default")

    assert all(key.startswith(keys.prefix.encode()) for key in all_keys(keys))
