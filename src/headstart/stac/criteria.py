"""What is searched for: a collection, a place, a time, a clear sky. Matched by us in any case.

A server that ignores a filter, or a catalogue of files that knows none, gives more than was asked;
`matches` is the last word. Knows no network.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headstart.errors import ConfigError

if TYPE_CHECKING:
    from pystac import Item

BBox = tuple[float, float, float, float]
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


@dataclass(frozen=True)
class Interval:
    """A stretch of time, both ends in it; None is open."""

    start: datetime | None
    end: datetime | None

    def __str__(self) -> str:
        return "/".join(".." if t is None else rfc3339(t) for t in (self.start, self.end))

    def overlaps(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether a stretch of time shares a moment with this one."""
        begins_late = self.end is not None and start is not None and start > self.end
        ends_early = self.start is not None and end is not None and end < self.start
        return not (begins_late or ends_early)


@dataclass(frozen=True)
class Criteria:
    """What an item must be like.

    Attributes:
        collection: The id of its collection.
        bbox: West, south, east and north in degrees; the item's box must touch it. West may be
            greater than east, across the date line (RFC 7946, section 5.2).
        interval: When it was taken.
        max_cloud: Percent of it that clouds may cover. What does not tell is left out.
        limit: How many items at most.
        ids: Just these items.
    """

    collection: str | None = None
    bbox: BBox | None = None
    interval: Interval | None = None
    max_cloud: float | None = None
    limit: int = 100
    ids: tuple[str, ...] = ()

    def matches(self, item: Item) -> bool:
        """Whether an item is what was asked for."""
        return not self.why_not(item)

    def why_not(self, item: Item) -> str:
        """Why an item is not what was asked for; empty when it is."""
        if self.ids and item.id not in self.ids:
            return "have another id"
        if self.collection is not None and item.collection_id != self.collection:
            return "are of another collection"
        box = box_of(item.bbox)  # nothing speaks against an item that does not tell where it is
        if self.bbox is not None and box is not None and not boxes_touch(self.bbox, box):
            return "lie elsewhere"
        if self.interval is not None and not self.interval.overlaps(*times_of(item)):
            return "are of another time"
        if self.max_cloud is not None:
            cloud = cloud_of(item)
            if cloud is None:
                return "do not tell their cloud cover"
            if cloud > self.max_cloud:
                return f"have more than {self.max_cloud:g}% of cloud"
        return ""

    def __str__(self) -> str:
        parts = [
            f"collection {self.collection}" if self.collection else "",
            f"box {','.join(f'{v:g}' for v in self.bbox)}" if self.bbox else "",
            f"time {self.interval}" if self.interval else "",
            f"at most {self.max_cloud:g}% of cloud" if self.max_cloud is not None else "",
            f"ids {', '.join(self.ids)}" if self.ids else "",
        ]
        return "; ".join(filter(None, parts)) or "anything"


def make_criteria(
    *,
    collection: str | None = None,
    bbox: str | Sequence[float] | None = None,
    datetime: str | None = None,
    max_cloud: float | None = None,
    limit: int = 100,
    ids: Sequence[str] = (),
) -> Criteria:
    """Criteria from what a user types.

    Raises:
        ConfigError: One of them cannot be read; with what is needed.
    """
    if not 1 <= limit <= 10_000:
        raise ConfigError(f"--limit {limit} cannot be. Give a number from 1 to 10000.")
    if max_cloud is not None and not 0 <= max_cloud <= 100:
        raise ConfigError(f"--max-cloud {max_cloud:g} cannot be. Give a percentage, 0 to 100.")
    return Criteria(
        collection=collection,
        bbox=None if bbox is None else parse_bbox(bbox),
        interval=None if datetime is None else parse_interval(datetime),
        max_cloud=max_cloud,
        limit=limit,
        ids=tuple(ids),
    )


def parse_bbox(given: str | Sequence[float]) -> BBox:
    """West, south, east and north in degrees.

    Raises:
        ConfigError: It is no box on Earth.

    Example:
        >>> parse_bbox("-62.1,-3.4,-61.9,-3.2")
        (-62.1, -3.4, -61.9, -3.2)
    """
    pieces = given.split(",") if isinstance(given, str) else list(given)
    try:
        values = [float(piece) for piece in pieces]
    except ValueError:
        values = []
    wrong = ""
    if len(values) != 4 or not all(map(math.isfinite, values)):
        wrong = "is no box of four numbers"
    elif not (-180 <= values[0] <= 180 and -180 <= values[2] <= 180):
        wrong = "has a longitude outside -180 to 180"
    elif not (-90 <= values[1] <= values[3] <= 90):
        wrong = "has its south above its north, or beyond a pole"
    elif values[0] == values[2] or values[1] == values[3]:
        wrong = "has no area"
    if wrong:
        text = given if isinstance(given, str) else ",".join(map(str, given))
        raise ConfigError(
            f"--bbox {text} {wrong}. Give west,south,east,north in degrees of longitude and "
            "latitude, such as -62.1,-3.4,-61.9,-3.2 (with = before a minus: --bbox=-62.1,...)."
        )
    return (values[0], values[1], values[2], values[3])


def parse_interval(text: str) -> Interval:
    """A year, month, day or moment, or two of them with `/` between; `..` is open. UTC.

    Raises:
        ConfigError: It is no time.

    Example:
        >>> str(parse_interval("2023-06/2023-07-10"))
        '2023-06-01T00:00:00Z/2023-07-10T23:59:59Z'
    """
    ends = text.split("/")
    try:
        if len(ends) == 1 and ends[0] not in ("", ".."):
            start, end = _moments(ends[0])
            return Interval(start, end)
        if len(ends) == 2 and any(end not in ("", "..") for end in ends):
            interval = Interval(
                None if ends[0] in ("", "..") else _moments(ends[0])[0],
                None if ends[1] in ("", "..") else _moments(ends[1])[1],
            )
            if interval.start is None or interval.end is None or interval.start <= interval.end:
                return interval
    except ValueError:
        pass  # told below, as for all that is no time
    raise ConfigError(
        f"--datetime {text} is no time. Give a day, month or year, or two with / between them and "
        ".. for an open end: 2023-06-10, 2023-06/2023-08, 2023/.."
    )


def _moments(text: str) -> tuple[datetime, datetime]:
    """The first and the last moment of a year, month, day or moment."""
    match = _DATE.fullmatch(text)
    if match is None:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return moment, moment
    year, month, day = (int(part) if part else 0 for part in match.groups())
    last_month = month or 12
    last_day = day or calendar.monthrange(year, last_month)[1]
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    end = datetime(year, last_month, last_day, tzinfo=UTC)
    return start, end + timedelta(days=1, seconds=-1)


def rfc3339(moment: datetime) -> str:
    """A moment as STAC writes it."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    text = moment.astimezone(UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")


def times_of(item: Item) -> tuple[datetime | None, datetime | None]:
    """When an item begins and ends; the same moment twice for most."""
    start = item.common_metadata.start_datetime or item.datetime
    end = item.common_metadata.end_datetime or item.datetime
    times = [
        t if t is None or t.tzinfo is not None else t.replace(tzinfo=UTC) for t in (start, end)
    ]
    return times[0], times[1]


def cloud_of(item: Item) -> float | None:
    """Percent of an item that clouds cover, as it says itself."""
    value = item.properties.get("eo:cloud_cover")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def spans(bbox: BBox) -> list[tuple[float, float]]:
    """The longitudes of a box: two stretches when it lies across the date line."""
    west, _, east, _ = bbox
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def box_of(values: Sequence[float] | None) -> BBox | None:
    """The box on the ground of a STAC box, which may have heights too; None if it is none."""
    if values is None or len(values) not in (4, 6):
        return None
    half = len(values) // 2
    return (values[0], values[1], values[half], values[half + 1])


def boxes_touch(a: BBox, b: BBox) -> bool:
    """Whether two boxes share a point."""
    if b[1] > a[3] or b[3] < a[1]:
        return False
    return any(p[0] <= q[1] and q[0] <= p[1] for p in spans(a) for q in spans(b))


def footprint_km(item: Item) -> tuple[float, float] | None:
    """Width and height of an item's box on the ground, in km; None without a box.

    Source: 111.32 km a degree, the equator of WGS 84 (6378.137 km) by 360.
    """
    box = box_of(item.bbox)
    if box is None:
        return None
    degrees = sum(east - west for west, east in spans(box))
    middle = math.radians((box[1] + box[3]) / 2)
    return degrees * 111.32 * math.cos(middle), (box[3] - box[1]) * 111.32
