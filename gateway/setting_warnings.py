"""What a configuration allows that its operator may not want: said by `pllm check` and at start, and not refused."""

from collections.abc import Iterator

from gateway.settings import Settings
from gateway.yaml_source import Problem


def warnings(settings: Settings) -> Iterator[Problem]:
    auth = settings.auth
    if auth.admin == "local":
        yield Problem(
            "auth.admin",
            "every program on this machine administers without a key; so does every caller of a proxy on it that adds "
            "no header of its own. Set auth.admin_key instead",
        )
