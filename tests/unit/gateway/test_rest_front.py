"""The REST front answers every request with the right status, within its bounds, whatever happens behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from servemesh import errors
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.gateway.rest.api import openapi
from servemesh.gateway.rest.api.app import application
from servemesh.gateway.rest.service import Front, FrontLimits
from servemesh.observe import traces
from tests.harness.asgi import Answered, Caller, MemoryEdge, asked

INFER = "/v2/models/m/infer"
BODY = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})


def answers(method: str, request: Any) -> Any:
    """What a mesh would say."""
    if method == "ModelInfer":
        response = pb.ModelInferResponse(
            model_name=request.model_name,
            model_version="1",
            id=request.id,
            raw_output_contents=[b"\0\0\x80?"],
        )
        response.outputs.add(name="y", datatype="FP32", shape=[1])
        return response
    if method == "RepositoryIndex":
        entry = pb.RepositoryIndexResponse.ModelIndex(name="m", version="1", state="READY")
        return pb.RepositoryIndexResponse(models=[entry])
    response = getattr(pb, f"{method}Response")()
    if method in ("ServerReady", "ModelReady"):
        response.ready = True
    elif method == "ModelStatistics":
        response.model_stats.add(name="m", version="1", inference_count=2**40)
    elif method == "ModelConfig":
        response.config.name = request.name
        response.config.input.add(name="x", data_type=11, dims=[-1, 4])
    return response


def a_front(answer: Any = answers, **limits: Any) -> tuple[Any, MemoryEdge]:
    edge = MemoryEdge(answer)
    return application(Front(edge, FrontLimits(**limits))), edge


async def get(path: str, answer: Any = answers) -> Answered:
    found = await asked(a_front(answer)[0], Caller("GET", path))
    assert found is not None
    return found


async def post(
    path: str, body: bytes = b"", answer: Any = answers, headers: Any = None, **limits: Any
) -> Answered:
    found = await asked(a_front(answer, **limits)[0], Caller("POST", path, [body], headers or {}))
    assert found is not None
    return found


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"])
async def test_health_is_a_status_without_a_body(path: str) -> None:
    found = await get(path)
    assert (found.status, found.body) == (200, b"")


async def test_the_process_is_live_while_the_mesh_is_away() -> None:
    def away(method: str, request: Any) -> Any:
        return errors.UnavailableError("away", reason="PEER_UNAVAILABLE")

    assert (await get("/v2/health/live", away)).status == 200
    found = await get("/v2/health/ready", away)
    assert (found.status, found.headers["retry-after"]) == (503, "1")


async def test_a_model_that_takes_no_calls_yet_is_not_ready() -> None:
    found = await get("/v2/models/m/ready", lambda method, request: pb.ModelReadyResponse(ready=False))
    assert (found.status, found.json()["reason"]) == (503, "NOT_READY")


async def test_an_infer_call_is_answered() -> None:
    found = await post("/v2/models/m/versions/prod/infer", BODY)
    assert found.status == 200
    assert found.headers["content-type"] == "application/json"
    assert found.json() == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]}],
    }


async def test_numbers_are_numbers_and_unset_parts_of_statistics_are_zero() -> None:
    (found,) = (await get("/v2/models/m/stats")).json()["model_stats"]
    assert found["inference_count"] == 2**40
    assert found["inference_stats"]["success"] == {"count": 0, "ns": 0}


async def test_a_configuration_names_its_datatypes() -> None:
    found = (await get("/v2/models/m/config")).json()
    assert found["input"][0]["data_type"] == "TYPE_FP32"
    assert found["input"][0]["dims"] == [-1, 4]


async def test_the_index_is_a_list() -> None:
    found = await post("/v2/repository/index", b'{"ready": true}')
    assert found.json() == [{"name": "m", "version": "1", "state": "READY", "reason": ""}]


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (errors.InvalidError("no"), 400, None),
        (errors.MissingError("no"), 404, None),
        (errors.ConflictError("no"), 409, None),
        (errors.ExistsError("no"), 409, None),
        (errors.OverloadedError("no", retry_after_s=2.2), 429, "3"),
        (errors.OverloadedError("no", reason="MESSAGE_TOO_LARGE"), 413, None),
        (errors.UnsupportedError("no"), 501, None),
        (errors.UnavailableError("no", retry_after_s=0.25), 503, "1"),
        (errors.ExpiredError("no"), 504, None),
        (errors.DamagedError("no"), 500, None),
        (RuntimeError("secret"), 500, None),
    ],
)
async def test_every_error_has_its_status(error: Exception, status: int, wait: str | None) -> None:
    found = await post(INFER, BODY, lambda method, request: error)
    assert (found.status, found.headers.get("retry-after")) == (status, wait)
    assert found.json()["reason"] == found.headers["servemesh-reason"]
    assert b"secret" not in found.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/a/b/c", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2/models/m", 405),
    ],
)
async def test_what_no_path_takes_is_refused_as_everything_else(method: str, path: str, status: int) -> None:
    found = await asked(a_front()[0], Caller(method, path))
    assert found is not None
    assert found.status == status
    assert found.json()["error"]


async def test_a_compressed_body_is_refused() -> None:
    found = await post(INFER, BODY, headers={"Content-Encoding": "gzip"})
    assert (found.status, found.json()["reason"]) == (415, "ENCODING_UNSUPPORTED")


async def test_a_page_of_another_site_is_refused() -> None:
    strange = {"Host": "127.0.0.1:8000", "Origin": "https://example.com"}
    assert (await post("/v2/repository/index", headers=strange)).status == 403
    own = {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}
    assert (await post("/v2/repository/index", headers=own)).status == 200


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read() -> None:
    front, _ = a_front(message_bytes_max=100)
    found = await asked(front, Caller("POST", INFER, [], {"Content-Length": "101"}))
    assert found is not None
    assert (found.status, found.json()["reason"]) == (413, "MESSAGE_TOO_LARGE")


async def test_a_body_that_turns_out_too_large_is_refused() -> None:
    front, _ = a_front(message_bytes_max=100)
    found = await asked(front, Caller("POST", INFER, [b"x" * 60, b"x" * 60]))
    assert found is not None
    assert found.status == 413


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    front, _ = a_front(body_timeout_s=0.01)
    found = await asked(front, Caller("POST", INFER, [b"{"], stalls=True))
    assert found is not None
    assert (found.status, found.headers["connection"]) == (408, "close")


async def test_more_requests_and_bodies_than_allowed_are_refused_with_a_time_to_come_back() -> None:
    front, edge = a_front(calls_max=1)
    full, _ = a_front(bodies_bytes_max=10)
    edge.may_answer.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(asked(front, Caller("POST", INFER, [BODY])))
        await edge.was_asked.wait()
        for application_ in (front, full):
            refused = await asked(application_, Caller("POST", INFER, [BODY]))
            assert refused is not None
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        edge.may_answer.set()
    answered = first.result()
    assert answered is not None
    assert answered.status == 200
    again = await asked(front, Caller("POST", INFER, [BODY]))
    assert again is not None
    assert again.status == 200


async def test_a_client_that_leaves_stops_its_call() -> None:
    front, edge = a_front()
    edge.may_answer.clear()
    caller = Caller("POST", INFER, [BODY])
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(asked(front, caller))
        await edge.was_asked.wait()
        caller.leaves.set()
    assert task.result() is None


@pytest.mark.parametrize(
    ("path", "body", "headers", "timeout_s"),
    [
        (INFER, BODY, {}, 30),
        (INFER, BODY, {"Servemesh-Timeout": "2.5"}, 2.5),
        (INFER, BODY, {"Servemesh-Timeout": "9999"}, 300),
        (INFER, BODY[:-1] + b',"parameters":{"timeout":4000000}}', {}, 5),
        ("/v2/repository/models/m/load", b"", {}, 300),
    ],
)
async def test_a_call_has_the_time_that_the_client_gives(
    path: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> None:
    front, edge = a_front()
    found = await asked(front, Caller("POST", path, [body], headers))
    assert found is not None
    assert found.status == 200
    assert edge.calls[0][2] == timeout_s


async def test_the_trace_of_the_caller_goes_on() -> None:
    parent, seen = f"00-{'a' * 32}-{'b' * 16}-01", []

    def traced(method: str, request: Any) -> Any:
        seen.append(traces.headers())
        return answers(method, request)

    await post(INFER, BODY, traced, {"traceparent": parent})
    assert seen == [(("traceparent", parent),)]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
async def test_a_timeout_that_is_none_is_refused(text: str) -> None:
    assert (await post(INFER, BODY, headers={"Servemesh-Timeout": text})).status == 400


async def test_an_answer_too_large_for_json_is_refused_with_the_way_out() -> None:
    found = await post(INFER, BODY, json_bytes_max=100)
    assert found.status == 200

    def large(method: str, request: Any) -> Any:
        response = pb.ModelInferResponse(raw_output_contents=[b"\0" * 104])
        response.outputs.add(name="y", datatype="FP32", shape=[26])
        return response

    found = await post(INFER, BODY, large, json_bytes_max=100)
    assert (found.status, found.json()["reason"]) == (413, "RESPONSE_TOO_LARGE")
    assert "binary_data" in found.json()["error"]


async def test_the_document_describes_every_path_and_no_other() -> None:
    described = (await get("/v2/openapi.json")).json()
    assert described == openapi.document()
    said = {
        (verb.upper(), path)
        for path, item in described["paths"].items()
        for verb in item
        if verb != "parameters"
    }
    front = application(Front(MemoryEdge(answers), FrontLimits()))
    served = {(verb, route.path) for route in front.routes for verb in route.methods - {"HEAD"}}
    assert said == served
