"""The Open Inference Protocol over HTTP: request in, one call to the edge, answer out."""

from __future__ import annotations

from typing import Any

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import UnavailableError
from servemesh.gateway.rest.api import openapi
from servemesh.gateway.rest.api.answers import JSON, Answer, infer_answer, json_answer, plain
from servemesh.gateway.rest.api.endpoint import Request
from servemesh.gateway.rest.api.infer import infer_request, parsed
from servemesh.gateway.rest.domain.documents import flag_at, malformed, object_at
from servemesh.gateway.rest.service import Front

JSON_SIZE = "inference-header-content-length"
TIMEOUT_MARGIN_S = 1.0  # the worker's own refusal of a call that is late says more than an expired deadline
OK = Answer()


class OipHttp:
    """Each method answers one path."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def live(self, request: Request) -> Answer:
        """Say that this process answers."""
        return OK

    async def ready(self, request: Request) -> Answer:
        """Say whether the mesh takes calls."""
        found = await self._ask("ServerReady", pb.ServerReadyRequest(), request)
        return _ready_or_not(found.ready, "the mesh takes no calls yet: no worker is there")

    async def model_ready(self, request: Request) -> Answer:
        """Say whether a model takes calls."""
        found = await self._ask("ModelReady", pb.ModelReadyRequest(**_named(request)), request)
        return _ready_or_not(found.ready, f"the model '{request.path['model'][:200]}' takes no calls yet")

    async def metadata(self, request: Request) -> Answer:
        """Say who the server is."""
        return json_answer(plain(await self._ask("ServerMetadata", pb.ServerMetadataRequest(), request)))

    async def model_metadata(self, request: Request) -> Answer:
        """Describe a model's inputs and outputs."""
        document = plain(
            await self._ask("ModelMetadata", pb.ModelMetadataRequest(**_named(request)), request)
        )
        if not document["properties"]:
            del document["properties"]
        return json_answer(document)

    async def model_config(self, request: Request) -> Answer:
        """Describe how a model is served."""
        found = await self._ask("ModelConfig", pb.ModelConfigRequest(**_named(request)), request)
        return json_answer(plain(found.config))

    async def statistics(self, request: Request) -> Answer:
        """Count what one model has done, or all."""
        found = await self._ask("ModelStatistics", pb.ModelStatisticsRequest(**_named(request)), request)
        return json_answer(plain(found, absent=True))

    async def index(self, request: Request) -> Answer:
        """List the models."""
        document = self._document(request)
        asked = pb.RepositoryIndexRequest(ready=flag_at(document.get("ready"), "ready"))
        found = await self._ask("RepositoryIndex", asked, request)
        return json_answer([plain(model) for model in found.models])

    async def load(self, request: Request) -> Answer:
        """Make a model take calls, and return when it does."""
        message = pb.RepositoryModelLoadRequest(model_name=request.path["model"])
        return await self._change("RepositoryModelLoad", message, request)

    async def unload(self, request: Request) -> Answer:
        """Stop a model from taking calls."""
        message = pb.RepositoryModelUnloadRequest(model_name=request.path["model"])
        return await self._change("RepositoryModelUnload", message, request)

    async def infer(self, request: Request) -> Answer:
        """Run a model once."""
        asked = infer_request(
            request.path["model"],
            request.path.get("version", ""),
            request.body,
            _json_size(request),
            json_bytes_max=self._front.limits.json_bytes_max,
        )
        timeout_s = request.timeout_s
        if timeout_s is None and asked.timeout_s is not None:
            timeout_s = asked.timeout_s + TIMEOUT_MARGIN_S
        found = await self._front.ask(
            "ModelInfer", asked.message, timeout_s or self._front.limits.deadline_s_default
        )
        return infer_answer(found, asked.wanted, json_bytes_max=self._front.limits.json_bytes_max)

    async def document(self, request: Request) -> Answer:
        """Describe all this."""
        return Answer(body=(openapi.text(),), content_type=JSON)

    async def _change(self, method: str, message: Any, request: Request) -> Answer:
        parameters = object_at(self._document(request).get("parameters"), "parameters")
        for name, value in parameters.items():
            if type(value) is bool:
                message.parameters[name].bool_param = value
            elif type(value) is str:
                message.parameters[name].string_param = value
            else:
                raise malformed(f"parameters.{name}", "a text, true or false", value)
        await self._front.ask(method, message, request.timeout_s or self._front.limits.deadline_s_max)
        return OK

    def _document(self, request: Request) -> dict[str, Any]:
        return parsed(request.body, self._front.limits.json_bytes_max)

    async def _ask(self, method: str, message: Any, request: Request) -> Any:
        return await self._front.ask(
            method, message, request.timeout_s or self._front.limits.deadline_s_default
        )


def _named(request: Request) -> dict[str, str]:
    return {"name": request.path.get("model", ""), "version": request.path.get("version", "")}


def _ready_or_not(ready: bool, why_not: str) -> Answer:
    if not ready:
        raise UnavailableError(why_not, reason="NOT_READY")
    return OK


def _json_size(request: Request) -> int | None:
    text = request.headers.get(JSON_SIZE)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text)):
        raise malformed("Inference-Header-Content-Length", "the size of the JSON in bytes", text)
    return int(text)
