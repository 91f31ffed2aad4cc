"""Resource names are read back as they were written, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from servemesh import names
from servemesh.errors import InvalidError

ids = st.from_regex(names.ID_PATTERN, fullmatch=True)
version_ids = st.integers(1, 10**18 - 1)


@given(ids)
def test_a_model_name_reads_back(model_id: str):
    assert names.model_id(names.model(model_id)) == model_id
    assert names.deployment_id(names.deployment(model_id)) == model_id
    assert names.worker_id(names.worker(model_id)) == model_id


@given(ids, version_ids)
def test_a_version_name_reads_back(model_id: str, version_id: int):
    name = names.version(model_id, version_id)
    assert names.version_ids(name) == (model_id, version_id)
    assert names.is_version(name)
    assert not names.is_alias(name)
    assert names.is_version_id(str(version_id))


@given(ids, ids)
def test_alias_and_upload_names_read_back(model_id: str, other_id: str):
    assert names.alias_ids(names.alias(model_id, other_id)) == (model_id, other_id)
    assert names.upload_ids(names.upload(model_id, other_id)) == (model_id, other_id)
    assert names.is_alias(names.alias(model_id, other_id))


@given(st.text(max_size=80))
def test_any_text_is_an_id_or_is_refused_with_its_field(text: str):
    if names.is_id(text):
        assert names.model(text) == f"models/{text}"
        return
    with pytest.raises(InvalidError) as raised:
        names.model(text)
    assert raised.value.metadata["field"] == "model_id"
    assert raised.value.reason == "NAME_MALFORMED"


@given(st.text(alphabet="models/versionaliases{}.-_A1\n\x00é", max_size=120))
def test_any_text_reads_back_as_itself_or_is_refused(text: str):
    if names.is_version(text):
        assert names.version(*names.version_ids(text)) == text
        return
    with pytest.raises(InvalidError) as raised:
        names.version_ids(text)
    assert raised.value.metadata["name"] == text[:200]


@given(ids, st.sampled_from(["/", "..", "\n", "%2f", " ", "\x00"]))
def test_nothing_hides_behind_an_id(model_id: str, trick: str):
    assume(not names.is_id(model_id + trick))
    with pytest.raises(InvalidError):
        names.model_id(f"models/{model_id}{trick}")


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "+1", "1.0", "1 ", "1\n", "\u0661", "9" * 19])
def test_what_is_no_version_id(text: str):
    assert not names.is_version_id(text)


@given(ids, st.sampled_from(names.JOB_KINDS), st.from_regex("[0-9a-f]{64}", fullmatch=True))
def test_names_of_datasets_jobs_and_sources_read_back(resource_id: str, kind: str, digest: str):
    assert names.dataset_id(names.dataset(resource_id)) == resource_id
    assert names.job_ids(names.job(kind, resource_id)) == (kind, resource_id)
    assert names.source_digest(names.source(digest)) == digest


@pytest.mark.parametrize("name", ["", "jobs/a", "optimizations/", "optimizations/a/b", "optimizations/A"])
def test_what_is_no_job_is_refused(name: str):
    with pytest.raises(InvalidError):
        names.job_ids(name)
