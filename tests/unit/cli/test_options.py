"""What the options of the command line mean."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from servemesh.cli import output
from servemesh.cli.commands import serving
from servemesh.cli.commands.top import joined, rates
from servemesh.cli.options import addresses, pairs, split_target
from servemesh.client import Statistics, Tensor
from servemesh.errors import InvalidError

SIGNATURE = {"x": Tensor(name="x", datatype="FP32", shape=(-1, 2))}


def servemesh(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servemesh.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_target_has_a_version_or_an_alias_or_neither():
    assert [split_target(text) for text in ("m", "m@3", "m@prod")] == [("m", ""), ("m", "3"), ("m", "prod")]


def test_a_target_that_ends_with_at_is_refused():
    with pytest.raises(InvalidError, match="ends with @"):
        split_target("m@")


def test_labels_are_key_and_value():
    assert pairs(["a=1", "b=x=y"], "--label") == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidError, match="KEY=VALUE"):
        pairs(["a"], "--label")


def test_several_addresses_are_separated_by_commas():
    assert addresses("a:1, b:2,") == ["a:1", "b:2"]


def test_json_input_takes_the_datatype_of_the_model():
    name, array = serving._parsed("x=[[1,2]]", SIGNATURE)
    assert (name, array.dtype, array.shape) == ("x", np.float32, (1, 2))


def test_the_only_input_needs_no_name():
    assert serving._parsed("[[1,2]]", SIGNATURE)[0] == "x"


def test_arrays_are_read_from_files(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert serving._parsed(f"x=@{tmp_path / 'a.npy'}", SIGNATURE)[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", ["x=[[1,2],[3]]", "x=nonsense", "x=@/no/such.npy", "nonsense"])
def test_input_that_makes_no_array_is_refused_with_words(text: str):
    two = {**SIGNATURE, "y": SIGNATURE["x"]}
    with pytest.raises(InvalidError, match="expected"):
        serving._parsed(text, two)


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT64", "[1, 2.5]"), ("INT8", "[300]"), ("BOOL", '["no"]')]
)
def test_values_are_never_cut_to_fit(datatype: str, value: str):
    signature = {"x": Tensor(name="x", datatype=datatype, shape=(-1,))}
    with pytest.raises(InvalidError, match=f"a rectangular array of {datatype}"):
        serving._parsed(f"x={value}", signature)


def test_files_with_python_objects_are_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InvalidError, match="without Python objects"):
        serving._parsed(f"x=@{tmp_path / 'a.npy'}", SIGNATURE)


def test_json_has_arrays_and_bytes_in_it():
    assert output.plain({"a": np.array([b"x"], dtype=object), "b": Path("p")}) == {"a": ["x"], "b": "p"}


def test_rates_are_differences_over_time():
    before = Statistics(
        model="m", version="1", calls=10, failures=0, rows=20, batches=5, duration_s=1, queue_s=0, compute_s=0
    )
    after = Statistics(
        model="m",
        version="1",
        calls=30,
        failures=2,
        rows=60,
        batches=15,
        duration_s=2,
        queue_s=1,
        compute_s=0,
    )
    reading = rates([before], [after], 2.0)[0]
    assert (reading.calls_per_s, reading.failures_per_s, reading.rows_per_run) == (10, 1, 4)
    assert reading.queue_share == 1.0


def test_top_joins_what_it_asked_for_by_version_busiest_first():
    key, other = ("iris", "1"), ("net", "2")
    names = ("failures", "rows", "runs", "p50_s", "p99_s", "latency_s", "queue_s", "busy_s")
    figures = {name: {key: 2.0} for name in names}
    first, second = joined(calls={key: 4.0, other: 5.0}, **figures)
    assert (first.model, first.failures_per_s, math.isnan(first.p99_ms)) == ("net", 0.0, True)
    assert (second.model, second.p99_ms, second.rows_per_run, second.queue_share) == ("iris", 2_000, 1, 1)


def test_wrong_usage_ends_with_64():
    assert servemesh("nonsense").returncode == 64
    assert servemesh("deploy").returncode == 64


def test_where_nobody_answers_the_error_says_how_to_start_a_mesh():
    answer = servemesh("model", "ls", "--address", "127.0.0.1:9", "--json")
    assert answer.returncode == 1
    assert "servemesh up" in answer.stderr
    assert json.loads(answer.stdout)["error"]["reason"] == "NO_ANSWER"
