"""The page: a few files that the service hands out as they are; what they show, they ask the service for."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import Response

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_SCRIPTS = ("page.js", "chart.js", "form.js", "service.js", "words.js")
_FILES = {"/": "index.html"} | {f"/{name}": name for name in ("page.css", *_SCRIPTS)}
PAGE_PATHS = frozenset(_FILES)
# Nothing from elsewhere, nothing inline: a text that the page shows can never run.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Serve the page at / and its parts beside it."""
    folder = files("panther_pipeline.serving") / "page"
    for path, name in _FILES.items():
        media_type = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
        _add_file(app, path, folder.joinpath(name).read_bytes(), media_type)


def _add_file(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    @app.get(path, include_in_schema=False)
    async def page() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)
