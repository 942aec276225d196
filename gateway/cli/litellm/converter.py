"""Converts a configuration of LiteLLM's proxy into one of ours, and reports on each of its keys.

The result passes `pllm check` once the variables that it names are set. A key without an equivalent is always reported,
and a variable replaces each secret of the file.
"""

import re
from functools import partial
from pathlib import Path

import msgspec

from gateway.cli.litellm import deployments, router, store
from gateway.cli.litellm.draft import Draft
from gateway.cli.litellm.reasons import reason
from gateway.cli.litellm.report import UNKNOWN, Row, lines
from gateway.configuration import yaml_source
from gateway.configuration.settings import ConfigurationError, parse
from gateway.configuration.yaml_source import Problem

_SECTIONS = ("router_settings", "litellm_settings", "general_settings")
_HEADER = "# From a configuration of LiteLLM's proxy, by pllm import litellm.\n"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Import(msgspec.Struct, frozen=True):
    """A converted configuration."""

    text: str  # our YAML; empty if no deployment could be taken over
    rows: tuple[Row, ...]
    samples: dict[str, str]  # a valid value for each variable that has to be set


def read(path: Path) -> str:
    """Returns the text of a file. Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Problem(str(path), "is not UTF-8 text")]) from error


def convert(text: str) -> Import:
    """Converts a text. Raises ConfigurationError for one that is not a configuration of LiteLLM's proxy."""
    source = yaml_source.plain(text)
    if source.problems:
        raise ConfigurationError(source.problems)
    document = source.document
    if document is None:
        raise ConfigurationError([Problem("", "the file is empty")])
    if not isinstance(document, dict):
        raise ConfigurationError([Problem("", "expected a mapping with model_list, as LiteLLM's proxy reads it")])
    entries = document.get("model_list")
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError([Problem("model_list", "expected a list of deployments")])
    draft = Draft(document)
    deployments.take(entries, draft)
    _take_store(document, draft)
    if draft.deployments:
        sections = {name: document.get(name) for name in _SECTIONS}
        router.take(router.found_in(sections, draft), draft)
        draft.router["aliases"] = draft.aliases
    _take_auth(document.get("general_settings"), draft)
    return _finished(document, draft)


def _take_store(document: dict[object, object], draft: Draft) -> None:
    router, general, litellm = (
        document.get(name) for name in ("router_settings", "general_settings", "litellm_settings")
    )
    store.take(router, "router_settings", draft, needs_prefix=True)
    for section, path, key in (
        (router, "router_settings", "cache_kwargs"),
        (general, "general_settings", "coordination_redis"),
        (litellm, "litellm_settings", "cache_params"),
    ):
        if isinstance(section, dict):
            store.take(section.get(key), f"{path}.{key}", draft)
    if not draft.state:
        draft.report.added("state.url", "none: replicas share state only through a store, so each would work alone")


def _take_auth(section: object, draft: Draft) -> None:
    path = "general_settings.master_key"
    key = section.get("master_key") if isinstance(section, dict) else None
    if not key:
        text = "none, so only this machine may call; LiteLLM may read LITELLM_MASTER_KEY from its environment"
        draft.report.added("auth.keys", text)
        return
    ours, is_literal = draft.variables.secret(key, "LITELLM_MASTER_KEY")
    draft.auth = {
        "admin_key": f"${{{draft.variables.fresh('PLLM_ADMIN_KEY')}:-}}",
        "keys": [{"name": "master", "key": ours}],
    }
    where = f"auth.keys[0] {ours}" + (": the key was in the file, put it into this variable" if is_literal else "")
    draft.report.approximated(path, f"{where}; the admin endpoints need auth.admin_key, a different key")


def _finished(document: object, draft: Draft) -> Import:
    rows = tuple(draft.report.rows(document, partial(_reason, draft)))
    if not draft.deployments:
        return Import("", rows, {})
    written = _HEADER + yaml_source.written(draft.document())
    used = set(_VARIABLE.findall(written))
    samples = {name: sample for name, sample in draft.variables.samples().items() if name in used}
    parse(written, samples)
    return Import(written, rows, samples)


def _reason(draft: Draft, keys: tuple[str, ...]) -> str:
    """Returns why a key without a row has no equivalent. The reason of an outer key holds for its parts."""
    if not draft.deployments:
        return "there is no deployment"
    for key in keys:
        if key in router.KNOWN and keys[0] in _SECTIONS:
            return "not read in this section"
        why = reason(key)
        if why != UNKNOWN and key not in _SECTIONS:
            return why
    return UNKNOWN


def report(imported: Import) -> list[str]:
    """Returns the report as lines of text."""
    shown = list(lines(imported.rows))
    if not imported.text:
        return [*shown, "", "model_list: no deployment could be taken over, so nothing was written"]
    if imported.samples:
        shown += ["", f"To be set before pllm check: {', '.join(sorted(imported.samples))}"]
    return shown


def write(imported: Import, out: Path, source: Path) -> None:
    """Writes the YAML to ``out``. Raises ConfigurationError."""
    try:
        if out.exists() and out.samefile(source):
            raise ConfigurationError([Problem(str(out), "is the file to import")])
        out.write_text(imported.text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([Problem(str(out), f"cannot be written: {error.strerror}")]) from error
