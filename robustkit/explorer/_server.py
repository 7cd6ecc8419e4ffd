"""The web server: access control, routes and responses.

Every path begins with a random token. `Guard` rejects all other requests, and those
sent by other pages in the browser. Behind it are the static files of the page and the
routes of :class:`~robustkit.explorer._requests.Api`.
"""

import json
import secrets

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from robustkit.explorer._graphs import Graphs
from robustkit.explorer._page import static_files
from robustkit.explorer._requests import Answer, Api, Reply, refusal, reply
from robustkit.explorer._run import Run

__all__ = ["Guard", "make_app"]

_LARGEST_BODY = 2**20

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_FORBIDDEN = b'{"error": "This page is for this computer alone: wrong Host or Origin."}'
_NOT_FOUND = b'{"error": "There is nothing here: the address is not complete."}'


def content_security_policy(ancestors: str) -> str:
    """Return a policy that allows the page to load from its own server only."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )


class Guard:
    """ASGI middleware that accepts only requests with the token from this computer.

    A page of the web that makes the browser ask for 127.0.0.1 shows itself by the Host
    (if its name was pointed at 127.0.0.1) or by the Origin header.

    Parameters
    ----------
    app : ASGI application
        What is behind; it sees paths without the token.

    token : str
        First part of every path.

    port : int
        Where the server listens.

    ancestors : str, default="'none'"
        Which pages may show the page in a frame.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, ancestors: str = "'none'"):
        self.app = app
        self._token = token.encode()
        names = ("127.0.0.1", "localhost", "[::1]")
        ending = "" if port == 80 else f":{port}"
        self._hosts = {f"{name}{ending}".encode() for name in names}
        self._headers = [
            (b"content-security-policy", content_security_policy(ancestors).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        headers = scope["headers"]
        if not self._is_local(headers):
            await self._refuse(send, 403, _FORBIDDEN)
            return
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        is_known = secrets.compare_digest(first.encode(), self._token)
        # Without the last slash, the page would look for its parts in the wrong place.
        if not is_known or "/" not in scope["path"][1:]:
            await self._refuse(send, 404, _NOT_FOUND)
            return
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        await self.app(inner, receive, send_with_headers)

    def _is_local(self, headers):
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        return (
            len(hosts) == 1
            and hosts[0].lower() in self._hosts
            and all(origin in self._origins(hosts[0]) for origin in origins)
        )

    @staticmethod
    def _origins(host):
        return (b"http://" + host.lower(),)

    async def _refuse(self, send, status, body):
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._headers,
        ]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})


def make_app(run: Run, graphs: Graphs) -> Starlette:
    """Build the application that serves a run; wrap it in `Guard`."""
    api, static = Api(run, graphs), static_files()

    async def page(request):
        return _file(static["index.html"])

    async def part(request):
        name = request.path_params["name"]
        if name not in static:
            raise HTTPException(404, "there is no such file")
        return _file(static[name])

    routes = [Route("/", page), Route("/static/{name}", part)]
    routes += [_get(name, answer) for name, answer in api.gets.items()]
    routes += [_post(name, answer) for name, answer in api.posts.items()]
    handlers = {HTTPException: _http_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    # Starlette does not know the token: its redirects would lead nowhere.
    app.router.redirect_slashes = False
    return app


def _file(path):
    return Response(path.read_bytes(), media_type=_TYPES[path.name.rpartition(".")[2]])


def _get(name: str, answer: Answer) -> Route:
    async def endpoint(request: Request) -> Response:
        pairs = request.query_params.multi_items()
        if len(dict(pairs)) < len(pairs):
            return _error(400, "a field was given twice")
        return _response(await reply(answer, dict(pairs)))

    return Route(f"/api/{name}", endpoint, methods=["GET"])


def _post(name: str, answer: Answer) -> Route:
    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":
            return _error(400, "the Content-Type must be application/json")
        body = await _read(request)
        if body is None:
            return _error(413, f"the request is larger than {_LARGEST_BODY} bytes")
        try:
            values = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _error(400, "the request is no JSON")
        return _response(await reply(answer, values))

    return Route(f"/api/{name}", endpoint, methods=["POST"])


async def _read(request: Request) -> bytes | None:
    """Read the body of a request; None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return body


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


def _response(reply: Reply) -> Response:
    headers = {}
    if reply.file_name is not None:
        headers = {"Content-Disposition": f'attachment; filename="{reply.file_name}"'}
    return Response(
        reply.body, reply.status, headers=headers, media_type=reply.media_type
    )


def _error(status, message):
    return _response(refusal(status, message))


async def _http_error(request, error):
    return _error(error.status_code, error.detail)
