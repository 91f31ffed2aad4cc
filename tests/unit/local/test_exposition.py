"""One Prometheus page out of many."""

from prometheus_client.parser import text_string_to_metric_families

from servemesh.local.domain.exposition import merged

ONE = """# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{code="OK"} 3
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 0.5
wait_seconds_count 2
"""
OTHER = """# HELP calls_total Calls, said otherwise.
# TYPE calls_total counter
calls_total{code="OK"} 4
up 1
"""


def families(text: str) -> dict[str, dict[tuple[str, str], float]]:
    return {
        family.name: {(sample.name, sample.labels["process"]): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_each_sample_says_which_process_it_comes_from():
    found = families(merged({"worker-1": ONE, "worker-2": OTHER}))
    assert found["calls"] == {("calls_total", "worker-1"): 3, ("calls_total", "worker-2"): 4}
    assert found["up"] == {("up", "worker-2"): 1}


def test_a_family_stands_once_and_together():
    text = merged({"worker-1": ONE, "worker-2": OTHER})
    assert text.count("# TYPE calls_total") == 1
    assert text.count("# HELP calls_total") == 1


def test_a_histogram_stays_one_family():
    found = families(merged({"worker-1": ONE}))
    assert {name for name, _ in found["wait_seconds"]} == {
        "wait_seconds_bucket",
        "wait_seconds_sum",
        "wait_seconds_count",
    }


def test_a_type_that_contradicts_the_first_is_left_out():
    text = merged({"a": "# TYPE x gauge\nx 1\n", "b": "# TYPE x counter\nx 2\n"})
    assert text == '# TYPE x gauge\nx{process="a"} 1\n'


def test_a_sample_that_names_its_process_keeps_its_word():
    text = merged({"a": '# TYPE x gauge\nx{process="inner"} 1\n'})
    assert 'x{process="inner"} 1' in text


def test_empty_labels_and_values_with_braces_are_understood():
    text = merged({"a": 'x{} 1\ny{path="{id}"} 2\n'})
    assert 'x{process="a"} 1\n' in text
    assert 'y{process="a",path="{id}"} 2\n' in text


def test_a_page_with_nothing_on_it_adds_nothing():
    assert merged({"a": "", "b": "# TYPE x gauge\n"}) == ""
