"""A REST front before a whole mesh: it says what gRPC says, and what it refuses is refused by the same part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import servemesh.gateway.rest.main as rest_main
from servemesh.gateway.rest.adapters.edge_calls import EdgeCalls
from servemesh.gateway.rest.api.app import application
from servemesh.gateway.rest.service import Front, FrontLimits
from servemesh.gateway.rest.settings import Settings
from tests.harness.asgi import Answered, Caller, asked
from tests.harness.mesh import mesh
from tests.harness.served import served

ROWS = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]


@asynccontextmanager
async def front_of(address: str) -> AsyncIterator[Any]:
    async with EdgeCalls(address, message_bytes_max=64 << 20) as edge:
        yield application(Front(edge, FrontLimits()))


async def sent(front: Any, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
    found = await asked(front, Caller(method, path, [body], headers))
    assert found is not None
    return found


async def test_a_mesh_is_used_over_http_from_load_to_unload(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m, front_of(m.address) as front:
        await m.push("net")
        absent = await sent(front, "GET", "/v2/models/net/versions/2/ready")
        assert (absent.status, absent.json()["reason"]) == (404, "MODEL_NOT_FOUND")
        assert (await sent(front, "POST", "/v2/repository/models/net/load")).status == 200
        assert (await sent(front, "GET", "/v2/models/net/ready")).status == 200
        metadata = (await sent(front, "GET", "/v2/models/net")).json()
        (tensor,) = metadata["inputs"]
        described = {"name": tensor["name"], "datatype": "FP32", "shape": [2, 4]}

        plain = orjson.dumps({"id": "a", "inputs": [{**described, "data": ROWS}]})
        answer = (await sent(front, "POST", "/v2/models/net/infer", plain)).json()
        (output,) = answer["outputs"]
        assert (answer["id"], answer["model_version"], output["shape"]) == ("a", "1", [2, 4])
        assert output["data"] == np.ravel(ROWS).tolist()

        tail = np.array(ROWS, np.float32).tobytes()
        document = {
            "parameters": {"binary_data_output": True},
            "inputs": [{**described, "parameters": {"binary_data_size": len(tail)}}],
        }
        head = orjson.dumps(document)
        size = {"Inference-Header-Content-Length": str(len(head))}
        binary = await sent(front, "POST", "/v2/models/net/versions/1/infer", head + tail, **size)
        assert binary.body[int(binary.headers["inference-header-content-length"]) :] == tail

        wrong = orjson.dumps({"inputs": [{**described, "shape": [4, 2], "data": ROWS[0] + ROWS[1]}]})
        refused = await sent(front, "POST", "/v2/models/net/infer", wrong)
        assert (refused.status, refused.json()["reason"]) == (400, "SHAPE_WRONG")
        late = orjson.dumps({"parameters": {"timeout": "soon"}, "inputs": [{**described, "data": ROWS}]})
        refused = await sent(front, "POST", "/v2/models/net/infer", late)
        assert (refused.status, refused.json()["reason"]) == (400, "PARAMETER_INVALID")

        assert (await sent(front, "GET", "/v2/models/net/config")).json()["max_batch_size"] > 0
        (entry,) = (await sent(front, "POST", "/v2/repository/index", b"{}")).json()
        assert entry == {"name": "net", "version": "1", "state": "READY", "reason": ""}
        assert (await sent(front, "POST", "/v2/repository/models/net/unload")).status == 200
        gone = await sent(front, "POST", "/v2/models/net/infer", plain)
        assert gone.status in (404, 503)


async def test_a_front_whose_mesh_is_away_says_so(tmp_path: Path) -> None:
    settings = Settings(address="127.0.0.1:0", edge_address="127.0.0.1:9", grace_s=1)
    async with served(rest_main.serve, settings, "") as address, front_of(settings.edge_address) as front:
        assert address.startswith("127.0.0.1:")
        found = await sent(front, "GET", "/v2/health/ready", **{"Servemesh-Timeout": "1"})
        assert (found.status, found.json()["reason"]) == (503, "PEER_UNAVAILABLE")
