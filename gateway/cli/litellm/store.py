"""Converts LiteLLM's many spellings of a Redis address to `state.url`. The first section with an address wins."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.cli.litellm.draft import Draft
from gateway.cli.litellm.report import Unusable
from gateway.cli.litellm.values import Kind
from gateway.configuration.state import StateSettings
from gateway.configuration.yaml_source import key_path
from shared_state.connection.address import parse

_WORDS = ("url", "host", "port", "username", "password", "db", "ssl", "startup_nodes", "sentinel_nodes", "service_name")
_WITH = {"host": ("port", "db"), "startup_nodes": (), "sentinel_nodes": ("service_name",)}
_SPELLINGS = {f"{prefix}{word}": word for word in _WORDS for prefix in ("", "redis_")}


def take(section: object, path: str, draft: Draft, needs_prefix: bool = False) -> None:
    """Converts the keys of a section. ``needs_prefix``: only keys that begin with `redis_` belong to the store."""
    if not isinstance(section, dict):
        return
    parts: dict[str, object] = {}
    paths: dict[str, str] = {}
    for key, value in section.items():
        word = _SPELLINGS.get(str(key))
        if word and value is not None and value != "" and (str(key).startswith("redis_") or not needs_prefix):
            parts.setdefault(word, value)
            paths.setdefault(word, key_path(path, key))
    if not parts:
        return
    try:
        if draft.state.get("url"):
            raise Unusable("state.url already has an address from another section")
        kind = str(section.get("type", "redis"))
        if not kind.startswith("redis"):
            raise Unusable("PLLM has no cache of answers")
        used = _used(parts)
        literals = _put_url({word: parts[word] for word in used}, draft)
    except Unusable as problem:
        for each in paths.values():
            draft.report.ignored(each, str(problem))
        return
    for word, each in paths.items():
        _report(each, word in used, word in literals, draft)


def _used(parts: Mapping[str, object]) -> list[str]:
    """Returns the keys that address the store and sign in. A URL alone is enough."""
    if "url" in parts:
        return ["url"]
    place = next((nodes for nodes in ("sentinel_nodes", "startup_nodes") if nodes in parts), "host")
    words = {"username", "password", place, *_WITH[place]}
    if isinstance(parts.get("ssl"), bool):
        words.add("ssl")
    return [word for word in parts if word in words]


def _report(path: str, is_used: bool, is_literal: bool, draft: Draft) -> None:
    if not is_used:
        draft.report.ignored(path, "other keys here give it to state.url already, or state.url has no equivalent")
    elif is_literal:
        text = "state.url, as a variable: the secret was in the file; percent-encode special characters of a URL"
        draft.report.approximated(path, text)
    else:
        draft.report.taken(path, "state.url")


def _put_url(parts: Mapping[str, object], draft: Draft) -> set[str]:
    """Sets `state.url`. Returns the parts that were secrets in their file. Raises Unusable."""
    if "url" in parts:
        url, literals = _whole(parts["url"], draft)
    else:
        url, literals = _composed(parts, draft)
    draft.variables.put(draft.state, StateSettings, "url", url)
    try:
        parse(str(draft.variables.resolved(url)))
    except ValueError as problem:
        del draft.state["url"]
        raise Unusable(f"not an address of a store: {problem}") from problem
    return literals


def _whole(value: object, draft: Draft) -> tuple[str, set[str]]:
    text = str(value)
    try:
        has_secret = "@" in text or bool(urlsplit(text).query)
    except ValueError:
        has_secret = True
    if not has_secret:
        return str(draft.variables.plain(text, "store")), set()
    name = draft.variables.fresh("REDIS_URL")
    return draft.variables.named(name, "store"), {"url"}


def _composed(parts: Mapping[str, object], draft: Draft) -> tuple[str, set[str]]:
    """Returns an address, and the parts that were secrets in their file. Raises Unusable."""
    literals: set[str] = set()
    password = ""
    if "password" in parts:
        password, is_literal = draft.variables.secret(parts["password"], "REDIS_PASSWORD")
        literals = {"password"} if is_literal else set()
    user = _plain(parts.get("username", ""), "text", draft)
    sign_in = f"{user}:{password}@" if user or password else ""
    scheme = "rediss" if parts.get("ssl") is True else "redis"
    if "sentinel_nodes" in parts:
        service = _plain(parts.get("service_name", ""), "text", draft)
        return f"{scheme}+sentinel://{sign_in}{_nodes(parts['sentinel_nodes'], draft)}/{service}", literals
    if "startup_nodes" in parts:
        return f"{scheme}+cluster://{sign_in}{_nodes(parts['startup_nodes'], draft)}", literals
    if "host" not in parts:
        raise Unusable("the host of the store is missing")
    database = f"/{_plain(parts['db'], 'number', draft)}" if "db" in parts else ""
    return f"{scheme}://{sign_in}{_address(parts['host'], parts.get('port', 6379), draft)}{database}", literals


def _nodes(value: object, draft: Draft) -> str:
    """Returns `HOST:PORT,…` from mappings with host and port, or pairs of them. Raises Unusable."""
    addresses = []
    for node in value if isinstance(value, list) else []:
        if isinstance(node, dict):
            addresses.append(_address(node.get("host"), node.get("port"), draft))
        elif isinstance(node, list) and len(node) == 2:
            addresses.append(_address(node[0], node[1], draft))
    if not addresses:
        raise Unusable("no nodes with a host and a port")
    return ",".join(addresses)


def _address(host: object, port: object, draft: Draft) -> str:
    return f"{_plain(host, 'host', draft)}:{_plain(port, 'number', draft)}"


def _plain(value: object, kind: Kind, draft: Draft) -> str:
    return str(draft.variables.plain(value, kind))
