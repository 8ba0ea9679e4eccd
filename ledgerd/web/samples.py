"""What to type to ask an endpoint, with curl and with Python's standard library alone (pure)."""

import json

from ledgerd.web.endpoint import Endpoint

HOME = "http://127.0.0.1:8010"
"""Where the samples ask: where ledgerd listens unless told otherwise; ``/docs`` puts its own address there."""
KEY = "THROTTLER_API_KEY"
"""The variable the samples take the key from."""
JSON = "application/json"
STREAM = "text/event-stream"


def samples(endpoint: Endpoint) -> list[dict[str, str]]:
    """The samples of an endpoint with an example: language, label and source, as ``x-codeSamples`` has it."""
    return [
        {"lang": "Shell", "label": "curl", "source": curl(endpoint)},
        {"lang": "Python", "label": "Python", "source": python(endpoint)},
    ]


def curl(endpoint: Endpoint) -> str:
    """A line for a shell; the answer comes out as it is."""
    words = ["curl", "-sSN" if endpoint.content_type == STREAM else "-sS", _shell(HOME + endpoint.example)]
    if endpoint.key:
        words += ["-H", f'"{endpoint.key}: ${KEY}"']
    if endpoint.method != "GET":
        words[2:2] = ["-X", endpoint.method]
    if endpoint.body is not None:
        words += ["-H", _shell(f"Content-Type: {JSON}"), "-d", _shell(json.dumps(endpoint.example_body))]
    return " ".join(words)


def python(endpoint: Endpoint) -> str:
    """A whole program that prints the answer."""
    url = json.dumps(HOME + endpoint.example)
    if endpoint.content_type == STREAM:
        return _following(url)
    headers = [f'"{endpoint.key}": os.environ["{KEY}"]'] if endpoint.key else []
    lines = [f"import json, {'os, ' if headers else ''}urllib.request", ""]
    if endpoint.body is not None:
        lines.append(f"body = {json.dumps(endpoint.example_body).encode()!r}")
        headers.append(f'"Content-Type": "{JSON}"')
    if headers:
        lines.append(f"headers = {{{', '.join(headers)}}}")
        body = "body" if endpoint.body is not None else "None"
        lines.append(f"asked = urllib.request.Request({url}, {body}, headers)")
    lines.append(f"with urllib.request.urlopen({'asked' if headers else url}) as answer:")
    return "\n".join([*lines, "    print(json.dumps(json.load(answer), indent=2))"])


def _following(url: str) -> str:
    """A program that follows a stream of events and prints what each says."""
    return f"""import urllib.request

with urllib.request.urlopen({url}) as stream:
    for line in stream:
        if line.startswith(b"data: "):
            print(line[6:].decode(), end="", flush=True)"""


def _shell(text: str) -> str:
    """``text`` as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"
