"""Resource names: the only place that reads and writes `models/{model}/versions/{version}` and its kin."""

from __future__ import annotations

import re

from servemesh.errors import InvalidError

ID_PATTERN = "[a-z][a-z0-9_-]{0,62}"
_ID = re.compile(ID_PATTERN)
_VERSION_ID = re.compile("[1-9][0-9]{0,17}")
_DIGEST = re.compile("[0-9a-f]{64}")
_FORMS = {"{version}": _VERSION_ID, "{digest}": _DIGEST}
JOB_KINDS = ("conversions", "optimizations", "evaluations")


def model(model_id: str) -> str:
    """Return `models/{model}`; InvalidError if the id is malformed."""
    return f"models/{_checked_id(model_id, 'model_id')}"


def version(model_id: str, version_id: int) -> str:
    """Return `models/{model}/versions/{version}`."""
    return f"{model(model_id)}/versions/{version_id}"


def alias(model_id: str, alias_id: str) -> str:
    """Return `models/{model}/aliases/{alias}`."""
    return f"{model(model_id)}/aliases/{_checked_id(alias_id, 'alias_id')}"


def upload(model_id: str, upload_id: str) -> str:
    """Return `models/{model}/uploads/{upload}`."""
    return f"{model(model_id)}/uploads/{_checked_id(upload_id, 'upload_id')}"


def deployment(model_id: str) -> str:
    """Return `deployments/{model}`."""
    return f"deployments/{_checked_id(model_id, 'model_id')}"


def worker(worker_id: str) -> str:
    """Return `workers/{worker}`."""
    return f"workers/{_checked_id(worker_id, 'worker_id')}"


def source(digest: str) -> str:
    """Return `sources/{digest}`; the digest is a sha256 in lower hex."""
    name = f"sources/{digest}"
    _parsed(name, "sources/{digest}")
    return name


def dataset(dataset_id: str) -> str:
    """Return `datasets/{dataset}`."""
    return f"datasets/{_checked_id(dataset_id, 'dataset_id')}"


def job(kind: str, job_id: str) -> str:
    """Return `{kind}/{job}`, where kind is one of JOB_KINDS."""
    name = f"{kind}/{job_id}"
    job_ids(name)
    return name


def model_id(name: str) -> str:
    """Return the id in `models/{model}`."""
    return _parsed(name, "models/{model}")[0]


def version_ids(name: str) -> tuple[str, int]:
    """Return model id and version id of `models/{model}/versions/{version}`."""
    model_id_, version_id = _parsed(name, "models/{model}/versions/{version}")
    return model_id_, int(version_id)


def alias_ids(name: str) -> tuple[str, str]:
    """Return model id and alias id of `models/{model}/aliases/{alias}`."""
    model_id_, alias_id = _parsed(name, "models/{model}/aliases/{alias}")
    return model_id_, alias_id


def upload_ids(name: str) -> tuple[str, str]:
    """Return model id and upload id of `models/{model}/uploads/{upload}`."""
    model_id_, upload_id = _parsed(name, "models/{model}/uploads/{upload}")
    return model_id_, upload_id


def deployment_id(name: str) -> str:
    """Return the model id in `deployments/{model}`."""
    return _parsed(name, "deployments/{model}")[0]


def worker_id(name: str) -> str:
    """Return the id in `workers/{worker}`."""
    return _parsed(name, "workers/{worker}")[0]


def source_digest(name: str) -> str:
    """Return the digest in `sources/{digest}`."""
    return _parsed(name, "sources/{digest}")[0]


def dataset_id(name: str) -> str:
    """Return the id in `datasets/{dataset}`."""
    return _parsed(name, "datasets/{dataset}")[0]


def job_ids(name: str) -> tuple[str, str]:
    """Return kind and id of the name of a Conversion, an Optimization or an Evaluation."""
    kind, _, job_id = name.partition("/")
    if kind not in JOB_KINDS or not is_id(job_id):
        raise _malformed(name, " or ".join(f"{kind}/{{id}}" for kind in JOB_KINDS))
    return kind, job_id


def is_version(name: str) -> bool:
    """Whether `name` has the form of a Version's name."""
    return _match(name, "models/{model}/versions/{version}") is not None


def is_alias(name: str) -> bool:
    """Whether `name` has the form of an Alias's name."""
    return _match(name, "models/{model}/aliases/{alias}") is not None


def is_version_id(text: str) -> bool:
    """Whether `text` is a version id: a whole number from 1 on, without leading zeros."""
    return _VERSION_ID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a model, an alias or a worker."""
    return _ID.fullmatch(text) is not None


def _parsed(name: str, pattern: str) -> list[str]:
    ids = _match(name, pattern)
    if ids is None:
        raise _malformed(name, pattern)
    return ids


def _malformed(name: str, pattern: str) -> InvalidError:
    return InvalidError(
        f"name is {name[:200]!r}, expected {pattern} with ids that match {ID_PATTERN}, "
        "versions that are whole numbers from 1 on, and digests that are sha256 in lower hex",
        reason="NAME_MALFORMED",
        field="name",
        name=name[:200],
        expected=pattern,
    )


def _match(name: str, pattern: str) -> list[str] | None:
    parts, wanted = name.split("/"), pattern.split("/")
    if len(parts) != len(wanted):
        return None
    ids = []
    for part, want in zip(parts, wanted, strict=True):
        if not want.startswith("{"):
            if part != want:
                return None
        elif _FORMS.get(want, _ID).fullmatch(part):
            ids.append(part)
        else:
            return None
    return ids


def _checked_id(text: str, field: str) -> str:
    if not is_id(text):
        raise InvalidError(
            f"{field} is {text[:200]!r}, expected {ID_PATTERN}: lower case, digits, _ and -, a letter first, "
            "at most 63 characters",
            reason="NAME_MALFORMED",
            field=field,
            name=text[:200],
            expected=ID_PATTERN,
        )
    return text
