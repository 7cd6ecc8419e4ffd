"""The pages and answers behind the token."""

import json
import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from robustkit.explorer._api import Api, GoneError
from robustkit.explorer._fields import RequestError
from robustkit.explorer._newest import SupersededError
from robustkit.explorer._page_file import static_files

__all__ = ["make_app"]

_LOG = logging.getLogger(__name__)

_LARGEST_BODY = 2**20

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def make_app(run, graphs):
    """Build the application that serves a run.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes and keeps the graphs.

    Returns
    -------
    app : Starlette
        For :class:`Guard`, which keeps strangers out.
    """
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
    # It knows nothing of the token, and would redirect to where nothing is.
    app.router.redirect_slashes = False
    return app


def _file(path):
    return Response(path.read_bytes(), media_type=_TYPES[path.name.rpartition(".")[2]])


def _get(name, answer):
    async def endpoint(request):
        pairs = request.query_params.multi_items()
        if len(dict(pairs)) < len(pairs):
            return _error(400, "a field was given twice")
        return await _answer(answer, dict(pairs))

    return Route(f"/api/{name}", endpoint, methods=["GET"])


def _post(name, answer):
    async def endpoint(request):
        if request.headers.get("content-type") != "application/json":
            return _error(400, "the Content-Type must be application/json")
        body = await _read(request)
        if body is None:
            return _error(413, f"the request is larger than {_LARGEST_BODY} bytes")
        try:
            values = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _error(400, "the request is no JSON")
        return await _answer(answer, values)

    return Route(f"/api/{name}", endpoint, methods=["POST"])


async def _read(request):
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return body


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


async def _answer(answer, values):
    try:
        result = await answer(values)
    except SupersededError:
        return as_json({"superseded": True}, 409)
    except RequestError as error:
        return _error(400, error)
    except GoneError as error:
        return _error(404, error)
    except (ValueError, MemoryError) as error:
        # The parameters, not we, are the reason.
        return _error(500, f"The computation failed: {str(error) or 'out of memory'}")
    except Exception as error:
        _LOG.exception("A request failed")
        return _error(500, f"{type(error).__name__}: {error}")
    return result if isinstance(result, Response) else as_json(result)


def as_json(content, status=200):
    """Turn plain Python values into an answer.

    Parameters
    ----------
    content : object
        What json.dumps understands, without NaN.

    status : int, default=200
        The status.

    Returns
    -------
    response : Response
        The answer.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def _error(status, message):
    return as_json({"error": " ".join(str(message).split())}, status)


async def _http_error(request, error):
    return _error(error.status_code, error.detail)
