"""Only the page of this computer is answered, and its files alone are served."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.explorer.conftest import expect_error
from tests.processes import PATIENCE


@pytest.mark.parametrize(
    "path",
    ["/", "/static/style.css", "/api/run", "/x/", "/{short}/", "/{token}x/", "/{token}",
     "//{token}/", "/%2e%2e/{token}/", "/{upper}/"],
)  # fmt: skip
def test_request_without_token_is_404(explorer, path):
    url = urlsplit(explorer.url)
    token = url.path.strip("/")
    path = path.format(token=token, short=token[:-1], upper=token.swapcase())
    response = httpx.get(f"{url.scheme}://{url.netloc}{path}")
    expect_error(response, 404)
    assert token not in response.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost:0",
     "localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example", "0.0.0.0:{port}",
     "[::1]:1", "", "127.0.0.1:{port},evil.example", "user@127.0.0.1:{port}"],
)  # fmt: skip
def test_foreign_host_is_rejected(explorer, client, host):
    """A name of the web that was pointed at this computer."""
    host = host.format(port=urlsplit(explorer.url).port)
    assert "wrong Host" in expect_error(client.get("", headers={"Host": host}), 403)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_computer_are_accepted(explorer, client, name):
    host = f"{name}:{urlsplit(explorer.url).port}"
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    assert client.get("", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://{host}", "http://127.0.0.1:1", "",
     "http://{host}.evil.example", "http://{host}/", "file://"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_foreign_origin_is_rejected(explorer, client, origin, method):
    origin = origin.format(host=urlsplit(explorer.url).netloc)
    response = client.request(method, "api/run", headers={"Origin": origin})
    assert "wrong Host or Origin" in expect_error(response, 403)


def raw(explorer, text):
    """Send bytes as they are; what comes back."""
    url = urlsplit(explorer.url)
    text = text.replace("{host}", url.netloc).replace("{path}", url.path)
    address = (url.hostname, url.port)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(text.encode().replace(b"\n", b"\r\n"))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n", b"200"),
        ("GET {path} HTTP/1.1\nHost: {host}\nHost: evil.example\n\n", b"400"),
        ("GET {path} HTTP/1.1\nConnection: close\n\n", b"400"),
        ("GET {path} HTTP/1.0\n\n", b"403"),
        ("GET http://evil.example{path} HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static/../../../etc/passwd HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static/%2e%2e%2f__init__.py HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static//etc/passwd HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}" + "a" * 99999 + " HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("rubbish\n\n", b"400"),
    ],
)
def test_raw_requests(explorer, text, status):
    assert raw(explorer, text).split()[1] == status


@pytest.mark.parametrize(
    "name",
    ["", "..", "../_server.py", "index.html/", "%2e%2e/_server.py", "nothing.js",
     "style.css%00", "/etc/passwd", "__pycache__", "STYLE.CSS", "a" * 5000],
)  # fmt: skip
def test_only_listed_static_files_are_served(client, name):
    expect_error(client.get(f"static/{name}"), 404)


def test_the_page_and_its_parts(client):
    page = client.get("")
    assert page.text.startswith("<!doctype html>")
    types = {"": "text/html; charset=utf-8", "app.js": "text/javascript; charset=utf-8",
             "style.css": "text/css; charset=utf-8"}  # fmt: skip
    for name, media_type in types.items():
        response = client.get(f"static/{name}" if name else "")
        assert response.status_code == 200
        assert response.headers["content-type"] == media_type


@pytest.mark.parametrize(
    "path", ["", "static/style.css", "api/run", "api/x", "static/x"]
)
def test_every_response_has_security_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert policy.endswith("frame-ancestors 'none'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "api/run"), ("GET", "api/graph"), ("PUT", ""), ("DELETE", "api/run"),
     ("OPTIONS", "api/graph"), ("TRACE", "")],
)  # fmt: skip
def test_wrong_method_is_rejected(client, method, path):
    expect_error(client.request(method, path), 405)


def test_unknown_route_is_404(client):
    expect_error(client.get("api/nothing"), 404)
    expect_error(client.get("api/"), 404)
