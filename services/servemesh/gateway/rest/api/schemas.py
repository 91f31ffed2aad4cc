"""The JSON that goes in and out, as JSON Schema."""

from __future__ import annotations

from typing import Any

from servemesh.tensors.datatypes import DATATYPES

Json = dict[str, Any]
_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
NAME: Json = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z][a-z0-9_-]{0,62}$"}
VERSION: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": 63,
    "pattern": "^([1-9][0-9]{0,17}|[a-z][a-z0-9_-]{0,62})$",
}
_DATATYPE: Json = {"type": "string", "enum": list(DATATYPES)}
_SHAPE: Json = {"type": "array", "items": _COUNT, "maxItems": 32}
_PARAMETERS: Json = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "integer", "number", "string"]},
}


def ref(name: str) -> Json:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str = "", **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": required.split()}


def _list(items: Json, **bounds: int) -> Json:
    return {"type": "array", "items": items, **bounds}


def _nested(depth: int) -> Json:
    """Return elements, in arrays of arrays up to `depth`."""
    leaf: Json = {"type": ["number", "boolean", "string"]}
    return leaf if depth == 0 else {"anyOf": [leaf, _list(_nested(depth - 1))]}


def _maybe(schema: Json) -> Json:
    """Return what may also be null, which says no more than leaving it out."""
    return {"anyOf": [schema, {"type": "null"}]}


_SAID = _list(_TEXT)
_DURATION = ref("Duration")
SCHEMAS: Json = {
    "Error": {
        **_object(
            "error reason",
            error={"type": "string", "description": "What is wrong, for people."},
            reason={"type": "string", "description": "The same for programs; docs/errors.md lists all."},
            metadata={"type": "object", "additionalProperties": _TEXT, "description": "What it is about."},
            retry_after_s={"type": "number", "description": "When to come back."},
        ),
        "description": "Every answer that is not 200.",
    },
    "Document": {"type": "object", "required": ["openapi", "paths"]},
    "ServerMetadata": _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_SAID),
    "TensorMetadata": _object(
        "name datatype shape", name=_TEXT, datatype=_DATATYPE, shape=_list({"type": "integer", "minimum": -1})
    ),
    "ModelMetadata": _object(
        "name versions platform inputs outputs",
        name=_TEXT,
        versions=_SAID,
        platform=_TEXT,
        inputs=_list(ref("TensorMetadata")),
        outputs=_list(ref("TensorMetadata")),
    ),
    "ModelConfig": _object("name max_batch_size input output", name=_TEXT, max_batch_size=_COUNT),
    "Duration": _object("count ns", count=_COUNT, ns=_COUNT),
    "Statistics": _object(
        "model_stats",
        model_stats=_list(
            _object(
                "name version last_inference inference_count execution_count inference_stats batch_stats",
                name=_TEXT,
                version=_TEXT,
                last_inference=_COUNT,
                inference_count=_COUNT,
                execution_count=_COUNT,
                inference_stats=_object(
                    "success fail queue compute_input compute_infer compute_output cache_hit cache_miss",
                    success=_DURATION,
                    fail=_DURATION,
                    queue=_DURATION,
                ),
            )
        ),
    ),
    "Index": _list(
        _object(
            "name version state reason",
            name=_TEXT,
            version=_TEXT,
            state={"type": "string", "enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]},
            reason=_TEXT,
        )
    ),
    "IndexRequest": _object(ready=_maybe({"type": "boolean", "description": "Only those that take calls."})),
    "LoadRequest": _object(parameters=_maybe({"type": "object", "maxProperties": 0})),
    "UnloadRequest": _object(
        parameters=_maybe(_object(unload_dependents={"type": "boolean", "description": "Changes nothing."}))
    ),
    "InferInput": _object(
        "name datatype shape",
        name=_TEXT,
        datatype=_DATATYPE,
        shape=_SHAPE,
        parameters={
            **_PARAMETERS,
            "properties": {
                "binary_data_size": {**_COUNT, "description": "Bytes behind the JSON; in place of data."}
            },
        },
        data={
            **_list(_nested(3)),
            "description": "The elements, flat or nested by the shape. FP16 and BF16 are sent as binary data only.",
        },
    ),
    "InferOutput": _object(
        "name",
        name=_TEXT,
        parameters={
            **_PARAMETERS,
            "properties": {
                "binary_data": {"type": "boolean", "description": "Send it as binary tensor data."},
                "classification": {"type": "integer", "minimum": 1, "description": "So many best classes."},
            },
        },
    ),
    "InferRequest": _object(
        "inputs",
        id=_maybe({"type": "string", "description": "Comes back in the answer."}),
        parameters={
            **_PARAMETERS,
            "type": ["object", "null"],
            "properties": {
                "binary_data_output": {
                    "type": "boolean",
                    "description": "All outputs as binary tensor data.",
                },
                "priority": {**_COUNT, "maximum": 65_535, "description": "1 is first, 0 the default."},
                "timeout": {**_COUNT, "description": "Microseconds that the call may take; 0 for no bound."},
            },
        },
        inputs=_list(ref("InferInput")),
        outputs=_maybe(_list(ref("InferOutput"))),
    ),
    "InferResponse": _object(
        "model_name model_version outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        outputs=_list(
            _object(
                "name datatype shape data",
                name=_TEXT,
                datatype=_DATATYPE,
                shape=_SHAPE,
                data=_list({"type": ["number", "boolean", "string"]}),
            )
        ),
    ),
}
