"""The OpenAPI 3.1 description of the REST front, made once."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

import orjson

from servemesh.gateway.rest.api.schemas import NAME, SCHEMAS, VERSION, ref

Json = dict[str, Any]
_ERRORS = {
    "400": "The request is wrong and stays wrong; `metadata.field` says where.",
    "403": "It comes from a page of another site.",
    "404": "There is no such model, version or path.",
    "408": "The body did not come in time.",
    "409": "The state of what it names forbids it.",
    "413": "It is above a bound of size.",
    "415": "The body is compressed.",
    "429": "A bound is reached; the header `Retry-After` says when to come back.",
    "500": "An error of ours, with an id that the log has, too.",
    "501": "Part of the protocol that is not offered here.",
    "503": "Nobody can answer now; the header `Retry-After` says when to come back.",
    "504": "The time that the request had is over.",
}
_READS = ("400", "403", "404", "429", "500", "503", "504")
_WRITES = tuple(_ERRORS)
_TIMEOUT: Json = {
    "name": "Servemesh-Timeout",
    "in": "header",
    "description": "Seconds that the request may take in the mesh; 30 if not given, at most 300.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_JSON_SIZE: Json = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Size of the JSON at the beginning of the body, in bytes, where binary tensor data follows it.",
    "schema": {"type": "integer", "minimum": 1},
}
_MODEL: Json = {"name": "model", "in": "path", "required": True, "schema": NAME, "description": "The model."}
_VERSION: Json = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": VERSION,
    "description": "A version's id, or an alias.",
}


@cache
def text() -> bytes:
    """Return the document as JSON."""
    return orjson.dumps(document())


def document() -> Json:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Servemesh",
            "version": metadata.version("servemesh"),
            "description": "The Open Inference Protocol v2 with Triton's extensions, over HTTP.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**_server_paths(), **_model_paths(), **_repository_paths()},
        "components": {"schemas": SCHEMAS},
    }


def _server_paths() -> Json:
    return {
        "/v2": {"get": _read("Who the server is and which extensions it has", "ServerMetadata")},
        "/v2/health/live": {"get": _asked("Whether this process answers")},
        "/v2/health/ready": {"get": _asked("Whether the mesh takes calls; 503 if not")},
        "/v2/openapi.json": {"get": _read("This document", "Document")},
        "/v2/models/stats": {"get": _read("What all models have done", "Statistics")},
    }


def _model_paths() -> Json:
    paths: Json = {}
    for path, parameters in (
        ("/v2/models/{model}", [_MODEL]),
        ("/v2/models/{model}/versions/{version}", [_MODEL, _VERSION]),
    ):
        of_version = " of a version" if _VERSION in parameters else ""
        for suffix, operation in (
            ("", _read(f"Inputs and outputs{of_version}", "ModelMetadata")),
            ("/ready", _asked(f"Whether calls{of_version} are taken; 503 if not")),
            ("/config", _read(f"The configuration{of_version} in Triton's words", "ModelConfig")),
            ("/stats", _read(f"The statistics{of_version}", "Statistics")),
        ):
            paths[f"{path}{suffix}"] = {"parameters": parameters, "get": operation}
        paths[f"{path}/infer"] = {"parameters": parameters, "post": _infer(of_version)}
    return paths


def _repository_paths() -> Json:
    model = "/v2/repository/models/{model}"
    return {
        "/v2/repository/index": {
            "post": _written("The models and their states", "IndexRequest", _json(ref("Index")))
        },
        f"{model}/load": {
            "parameters": [_MODEL],
            "post": _written("Deploy a model; answers when it takes calls", "LoadRequest", {}),
        },
        f"{model}/unload": {
            "parameters": [_MODEL],
            "post": _written("Undeploy a model; answers when no worker has it", "UnloadRequest", {}),
        },
    }


def _read(summary: str, schema: str) -> Json:
    return _operation(summary, _json(ref(schema)), _READS)


def _asked(summary: str) -> Json:
    return _operation(summary, {}, _READS)


def _written(summary: str, schema: str, content: Json) -> Json:
    body = {"required": False, "content": {"application/json": {"schema": ref(schema)}}}
    return {**_operation(summary, content, _WRITES), "requestBody": body}


def _infer(of_version: str) -> Json:
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answered = {**_json(ref("InferResponse")), **binary}
    operation = _operation(f"Run the model{of_version} once", answered, _WRITES)
    operation["parameters"].append(_JSON_SIZE)
    operation["responses"]["200"]["headers"] = {
        "Inference-Header-Content-Length": {
            "description": "Size of the JSON at the beginning of the body, if binary tensor data follows it.",
            "schema": {"type": "integer", "minimum": 1},
        }
    }
    body = {"required": True, "content": {**_json(ref("InferRequest")), **binary}}
    return {**operation, "requestBody": body}


def _operation(summary: str, content: Json, errors: tuple[str, ...]) -> Json:
    done: Json = {"description": "Done."}
    if content:
        done["content"] = content
    refused = {code: {"description": _ERRORS[code], "content": _json(ref("Error"))} for code in errors}
    return {"summary": summary, "parameters": [_TIMEOUT], "responses": {"200": done, **refused}}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
