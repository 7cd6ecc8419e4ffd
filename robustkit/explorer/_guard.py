"""Who may ask, and what every answer says about itself."""

import secrets

__all__ = ["Guard", "content_security_policy"]

_FORBIDDEN = b'{"error": "This page is for this computer alone: wrong Host or Origin."}'
_NOT_FOUND = b'{"error": "There is nothing here: the address is not complete."}'


def content_security_policy(ancestors):
    """Say where the page may get things from: from here alone.

    Parameters
    ----------
    ancestors : str
        Which pages may show it in a frame.

    Returns
    -------
    policy : str
        Value of the header.
    """
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )


class Guard:
    """Let pass only requests that know the token and come from this computer.

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

    def __init__(self, app, token, port, ancestors="'none'"):
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

    async def __call__(self, scope, receive, send):
        """Answer one request."""
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
