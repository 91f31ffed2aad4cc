"""Reports say the same in every form, and a page of one needs nothing else."""

from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

from servemesh.cli.reports import pages, picture
from servemesh.cli.reports.contents import Report
from servemesh.client import Interval, LogLine, Parity, Step, Variant
from tests.harness.job_values import NOW, a_speed, a_variant, an_optimization

FUSE = Step(pass_id="fuse")
INT8 = Step(pass_id="int8_static")


def a_report(*variants: Variant) -> Report:
    job = an_optimization(*variants)
    assert job.result is not None
    return Report(
        job=job,
        result=job.result,
        defaults={},
        log=[
            LogLine(time=NOW, epoch=1, text="trying <fuse> & more"),
            LogLine(
                time=NOW, epoch=1, text="most sensitive to int8 of 9 layers: conv.1 (7 dB), last (12 dB)"
            ),
        ],
        parity=Parity(row_count=256, generated=False, max_abs=1e-6, max_rel=1e-7, argmax_agreement=1.0),
    )


class Tags(HTMLParser):
    """Keeps what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_a_page_has_the_picture_the_table_and_nothing_from_elsewhere():
    page = pages.html(
        a_report(a_variant(), a_variant(accepted=False, version=None, refusals=("it is <slow>",)))
    )
    tags = Tags()
    tags.feed(page)
    assert tags.names.count("circle") == 3
    assert (
        tags.names.count("tr") == 4 + 3 + 3
    )  # the models, what each pass did, and the layers that suffer most
    assert not tags.links
    assert "script" not in tags.names
    assert "it is &lt;slow&gt;" in page
    assert "trying &lt;fuse&gt; &amp; more" in page
    assert "256 real rows" in page
    assert "<td>conv.1</td><td>7 dB</td>" in page


def test_the_picture_is_well_formed_and_puts_what_is_smaller_to_the_left_and_what_is_faster_above():
    small = a_variant(size_ratio=0.2, speeds=(a_speed(0.5),))
    fast = a_variant(size_ratio=0.8, speeds=(a_speed(2.0),))
    root = ElementTree.fromstring(picture.drawn(a_report(small, fast)))
    _, left, above = [
        (float(circle.attrib["cx"]), float(circle.attrib["cy"])) for circle in root.iter("circle")
    ]
    assert left[0] < above[0]
    assert above[1] < left[1]


def test_where_no_speed_was_measured_there_is_no_picture():
    report = a_report(a_variant(speeds=()))
    assert report.result.baseline is not None
    result = replace(report.result, baseline=replace(report.result.baseline, speeds=()))
    assert picture.drawn(replace(report, result=result)) == ""


def test_what_each_pass_did_is_told_beside_the_model_before_it():
    before = a_variant(steps=(FUSE,), size_bytes=100_000, speeds=(a_speed(1.5),), metric_loss=None)
    after = a_variant(
        steps=(FUSE, INT8),
        size_bytes=25_000,
        speeds=(a_speed(3.0),),
        metric_loss=Interval(value=0.01, low=0, high=0.02),
    )
    gains = a_report(before, after).gains()
    assert gains[-1] == ["fuse → int8_static", "x 0.25", "x 2.00", "+0.0100"]


def test_markdown_says_the_same():
    text = pages.markdown(a_report(a_variant(refusals=("it is slow",))))
    assert text.startswith("# optimizations/j1: digits@1")
    assert "1.50 [1.40, 1.60]" in text
    assert "it is slow" in text


def test_models_in_the_same_place_share_a_label_and_axes_count_in_round_steps():
    twice = (a_variant(size_ratio=0.5, speeds=(a_speed(2.0),)),) * 2
    root = ElementTree.fromstring(picture.drawn(a_report(*twice)))
    labels = [text.text for text in root.iter("text")]
    assert "1, 2" in labels
    assert {"0", "0.2", "0.4", "0.6", "0.8", "1"} <= set(labels)
    assert {"0.5", "1.5", "2"} <= set(labels)
