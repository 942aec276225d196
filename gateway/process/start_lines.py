"""The log lines of a start: where the gateway listens, on which store, and who may call it."""

from gateway.configuration.redaction import masked_address
from gateway.configuration.settings import Settings
from gateway.request.admins import Admins

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # the address for a browser on the same machine


def start_lines(settings: Settings, version: str, processes: int = 1) -> list[str]:
    """Returns lines for the log, without a secret. ``processes``: how many share the port."""
    server, entries = settings.server, settings.model_list
    models = _counted(len({entry.model_name for entry in entries}), "model")
    deployments = _counted(len(entries), "deployment")
    store = masked_address(str(settings.state.url)) if settings.state.url else "embedded"
    scheme = "http" if server.tls is None else "https"
    where = _address(scheme, server.host, server.port) + (f" ({processes} processes)" if processes > 1 else "")
    lines = [f"pllm {version} listens on {where}: {models}, {deployments}, store {store}"]
    if Admins(settings.auth).mode == "off":
        lines.append("The live page and /v1/admin are off: no admin key is set.")
    else:
        lines.append(f"live page: {_address(scheme, _EVERYWHERE.get(server.host, server.host), server.port)}/admin")
    if server.engine != "hypercorn":
        lines.append(f"server.engine: {server.engine} has no effect: there is only one server. Remove the setting.")
    if not settings.auth.keys:
        lines.append("Every call is served: auth.keys is empty. The gateway listens on loopback only.")
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _address(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
