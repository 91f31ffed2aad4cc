"""The tables of the store. Each family of points has one for each resolution; `seq` says which flush wrote a row.

Rows of rolled tables add up: one series may have several for the same minute if points came late.
"""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.metrics.domain.coverage import Resolution

TABLE_SUFFIX = {Resolution.RAW: "raw", Resolution.MINUTE: "minute", Resolution.HOUR: "hour"}
COARSER = {Resolution.RAW: Resolution.MINUTE, Resolution.MINUTE: Resolution.HOUR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Tables of one shape: their columns beside seq, series and time, and how rows become one."""

    name: str
    raw: dict[str, str]
    rolled: dict[str, str]
    widened: str  # the columns of `rolled`, out of those of `raw`
    keys: str  # beside series and time, what keeps rows apart
    joined: str  # the columns of `rolled` that are not keys, out of several rows

    def table(self, resolution: Resolution) -> str:
        """Name of its table."""
        return f"{self.name}_{TABLE_SUFFIX[resolution]}"

    def selected(self, resolution: Resolution) -> str:
        """The columns of `rolled` as one resolution has them."""
        return self.widened if resolution is Resolution.RAW else ", ".join(self.rolled)


def known(column: str, function: str) -> str:
    """Put values together; unknown if one of them is."""
    return f"CASE WHEN count({column}) = count(*) THEN {function}({column}) END AS {column}"


GROWTH = Family(
    name="growth",
    raw={"value": "DOUBLE"},
    rolled={"value": "DOUBLE"},
    widened="value",
    keys="",
    joined="sum(value) AS value",
)
LEVEL = Family(
    name="level",
    raw={"value": "DOUBLE"},
    rolled={
        "count": "BIGINT",
        "sum": "DOUBLE",
        "min": "DOUBLE",
        "max": "DOUBLE",
        "last": "DOUBLE",
        "last_time": "BIGINT",
    },
    widened="1 AS count, value AS sum, value AS min, value AS max, value AS last, time AS last_time",
    keys="",
    joined="sum(count)::BIGINT AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max, "
    "arg_max(last, last_time) AS last, max(last_time) AS last_time",
)
_SUMMARY = {"count": "BIGINT", "sum": "DOUBLE", "min": "DOUBLE", "max": "DOUBLE", "zero_threshold": "DOUBLE"}
SUMMARY = Family(
    name="summary",
    raw=_SUMMARY,
    rolled=_SUMMARY,
    widened=", ".join(_SUMMARY),
    keys="",
    joined=f"sum(count)::BIGINT AS count, {known('sum', 'sum')}, {known('min', 'min')}, "
    f"{known('max', 'max')}, max(zero_threshold) AS zero_threshold",
)
_BUCKET = {"side": "TINYINT", "scale": "TINYINT", "place": "INTEGER", "count": "BIGINT"}
BUCKET = Family(
    name="bucket",
    raw=_BUCKET,
    rolled=_BUCKET,
    widened=", ".join(_BUCKET),
    keys="side, scale, place, ",
    joined="sum(count)::BIGINT AS count",
)
FAMILIES = (GROWTH, LEVEL, SUMMARY, BUCKET)

_PLAIN = (
    "CREATE TABLE IF NOT EXISTS series (id BIGINT, metric VARCHAR, kind VARCHAR, unit VARCHAR, labels VARCHAR)",
    "CREATE TABLE IF NOT EXISTS annotations "
    "(id VARCHAR PRIMARY KEY, time BIGINT, kind VARCHAR, resource VARCHAR, text VARCHAR)",
    "CREATE TABLE IF NOT EXISTS spans (time BIGINT, trace_id VARCHAR, span_id VARCHAR, parent_id VARCHAR, "
    "name VARCHAR, labels VARCHAR, duration DOUBLE, failed BOOLEAN, message VARCHAR)",
    # What of a resolution is in the next coarser one: rows of a flush up to `seq` before `time`, all up to `low`.
    # What began before `kept` is deleted.
    "CREATE TABLE IF NOT EXISTS rolled (resolution INTEGER, seq BIGINT, time BIGINT, low BIGINT, kept BIGINT)",
    *(
        f"INSERT INTO rolled SELECT {int(resolution)}, -1, 0, -1, 0 "
        f"WHERE NOT EXISTS (FROM rolled WHERE resolution = {int(resolution)})"
        for resolution in Resolution
    ),
)


def statements() -> tuple[str, ...]:
    """What makes an empty file a store; on a store it does nothing."""
    made = []
    for family in FAMILIES:
        for resolution in Resolution:
            columns = family.raw if resolution is Resolution.RAW else family.rolled
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            made.append(
                f"CREATE TABLE IF NOT EXISTS {family.table(resolution)} "
                f"(seq BIGINT, series BIGINT, time BIGINT, {listed})"
            )
    return (*made, *_PLAIN)
