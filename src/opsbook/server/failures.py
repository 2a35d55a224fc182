"""Every failure leaves the API in one shape: ``{"error": {kind, message, hint, where, details}}``."""

from __future__ import annotations

import logging
import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from opsbook.errors import Invalid, NotFound, OpsbookError

log = logging.getLogger("opsbook.server")


def install(app: FastAPI) -> None:
    """Map what a route may raise to a status and the one body."""
    app.add_exception_handler(OpsbookError, _understood)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _unforeseen)


def _answer(error: OpsbookError, status: int | None = None) -> JSONResponse:
    return JSONResponse({"error": error.to_json()}, status_code=status or error.http_status)


def _understood(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OpsbookError)
    if error.http_status >= 500:
        log.warning("%s %s: %s", request.method, request.url.path, error)
    return _answer(error)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
    ]
    return _answer(
        Invalid(
            "; ".join(problems),
            where=f"{request.method} {request.url.path}",
            hint="the API is described at /api/openapi.json",
            details={"problems": problems},
        )
    )


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        return _answer(
            NotFound("no such page", where=where, hint="the API is described at /api/openapi.json")
        )
    return _answer(Invalid(str(error.detail), where=where), error.status_code)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    # The text of an unforeseen error may hold anything, a secret too: it goes to the private log, not to the
    # caller.
    reference = secrets.token_hex(4)
    log.error("%s %s failed [%s]", request.method, request.url.path, reference, exc_info=error)
    return _answer(
        OpsbookError(
            "an error inside opsbook",
            where=f"{request.method} {request.url.path}",
            hint=f"its cause is in the file opsbook.log of the state folder: search for {reference}",
            details={"reference": reference},
        )
    )
