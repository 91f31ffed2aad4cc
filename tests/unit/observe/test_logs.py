"""Every log line is one JSON object that names its process."""

from __future__ import annotations

import io
import json
import logging

import pytest

from servemesh.observe import logs, names
from servemesh.observe.logs import logging_to

log = logging.getLogger("servemesh.test")


class GoneStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_its_process_and_has_the_fields_of_extra():
    stream = io.StringIO()
    with logging_to("worker", "w1", stream=stream):
        log.info(names.READY, extra={"address": "127.0.0.1:7", "slots": 3})
    (line,) = lines_of(stream)
    assert line["event"] == "ready"
    assert (line["service"], line["instance"], line["level"]) == ("worker", "w1", "INFO")
    assert (line["address"], line["slots"]) == ("127.0.0.1:7", 3)
    assert str(line["time"]).endswith("+00:00")


def test_an_exception_is_one_line_too():
    stream = io.StringIO()
    with logging_to("worker", "w1", stream=stream):
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("rpc.failed")
    (line,) = lines_of(stream)
    assert "ValueError: why" in str(line["exception"])


def test_lines_below_the_level_are_not_written():
    stream = io.StringIO()
    with logging_to("worker", "w1", "WARNING", stream=stream):
        log.info("quiet")
    assert lines_of(stream) == []


def test_the_first_of_several_services_in_a_process_decides():
    first, second = io.StringIO(), io.StringIO()
    with logging_to("worker", "w1", stream=first), logging_to("gateway", "g1", stream=second):
        log.info("once")
    assert [line["service"] for line in lines_of(first)] == ["worker"]
    assert second.getvalue() == ""


def test_a_reader_who_is_gone_costs_lines_and_nothing_else():
    with logging_to("worker", "w1", stream=GoneStream()):
        log.info("lost")


@pytest.mark.parametrize("value", [b"\xff", object(), {1: {2}}, float("nan")])
def test_any_field_can_be_written(value: object):
    record = logging.makeLogRecord({"msg": "x", "field": value})
    assert json.loads(logs.JsonFormatter("s", "i").format(record))["event"] == "x"
