"""What is counted and measured, in plain Python numbers, and how it is read.

An instrument costs what a list index or a dictionary look-up costs: OpenTelemetry's own take 8 µs a record here,
prometheus_client's 1 to 3, these 0.1 to 0.4, and a delivery to a stream must not notice. Both libraries are given the
numbers when somebody asks for them (`exposition`, `otlp`).

Everything is of one process. Numbers are changed in the event loop and may be read in another thread: reading copies
each table at once, and a histogram read in the middle of a record may be off by that one record.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of buckets, from a call inside the process to a backend's longest."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """`counts[i]` values were at most `bounds[i]` and above the bound before; the last count is of those above all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


Points = dict[Labels, float] | dict[Labels, Distribution]


class Instrument:
    """A metric. `name` and `unit` (UCUM) are OpenTelemetry's, `labels` the names of what tells its series apart.

    The values of a label are from a small set that configuration and code know: never an id, never what a caller wrote.
    """

    kind = ""
    monotonic = False

    def __init__(self, name: str, unit: str, meaning: str, *labels: str) -> None:
        self.name = name
        self.unit = unit
        self.meaning = meaning
        self.labels = labels

    def points(self) -> Points:
        """What was counted so far, by the values of the labels."""
        raise NotImplementedError


class Counter(Instrument):
    """Only grows."""

    kind = "counter"
    monotonic = True

    def __init__(self, name: str, unit: str, meaning: str, *labels: str) -> None:
        super().__init__(name, unit, meaning, *labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *labels: str, by: float = 1) -> None:
        """Count."""
        self._values[labels] = self._values.get(labels, 0) + by

    def points(self) -> Points:
        return dict(self._values)


class Sum(Instrument):
    """Only grows, has no labels, and is added to in place: `value += n`."""

    kind = "counter"
    monotonic = True

    def __init__(self, name: str, unit: str, meaning: str) -> None:
        super().__init__(name, unit, meaning)
        self.value = 0

    def points(self) -> Points:
        points: dict[Labels, float] = {(): self.value}
        return points


class Histogram(Instrument):
    """Values by size."""

    kind = "histogram"

    def __init__(self, name: str, unit: str, meaning: str, *labels: str, bounds: tuple[float, ...] = SECONDS) -> None:
        super().__init__(name, unit, meaning, *labels)
        self._bounds = bounds
        self._cells: dict[Labels, list[float]] = {}
        """Counts, one for each bound and one for what is above all, and the sum."""

    def record(self, value: float, *labels: str) -> None:
        """Take a value in."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = [0.0] * (len(self._bounds) + 2)
        cell[bisect_left(self._bounds, value)] += 1
        cell[-1] += value

    def points(self) -> Points:
        cells = {labels: tuple(cell) for labels, cell in list(self._cells.items())}
        return {
            labels: Distribution(self._bounds, tuple(map(int, cell[:-1])), cell[-1]) for labels, cell in cells.items()
        }


class Doubling(Instrument):
    """A histogram without labels whose bounds are one less than powers of two: for whole numbers on the hottest path.

    Whoever records does it in place: `counts[n.bit_length()] += 1` and `sum += n`. `bits` are the lengths of the first
    and the last bound, `scale` is what a one stands for.
    """

    kind = "histogram"

    def __init__(self, name: str, unit: str, meaning: str, *, bits: tuple[int, int], scale: float = 1) -> None:
        super().__init__(name, unit, meaning)
        self._first, last = bits
        self._bounds = tuple((2**power - 1) * scale for power in range(self._first, last + 1))
        self._scale = scale
        self.counts = [0] * 64
        """Of numbers with so many bits; who records sees to it that there are no more than 63."""
        self.sum = 0

    def points(self) -> Points:
        counts, first = tuple(self.counts), self._first
        above = first + len(self._bounds)
        found = (sum(counts[: first + 1]), *counts[first + 1 : above], sum(counts[above:]))
        points: dict[Labels, Distribution] = {(): Distribution(self._bounds, found, self.sum * self._scale)}
        return points


class Gauge(Instrument):
    """Goes up and down. Nobody sets it: whoever knows the value is asked when it is read, see `Registry.source`."""

    kind = "gauge"

    def __init__(self, name: str, unit: str, meaning: str, *labels: str, worst: bool = False) -> None:
        super().__init__(name, unit, meaning, *labels)
        self.worst = worst
        """Of several sources the largest counts, not the sum."""


class Total(Gauge):
    """Only grows, and somebody else counts it."""

    kind = "counter"
    monotonic = True


Reading = tuple[Gauge, Labels, float]
Source = Callable[[], Iterable[Reading]]


class Registry:
    """All instruments of a process, each under a name of its own."""

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments = instruments
        self._sources: list[Source] = []
        self._reading = threading.Lock()

    @contextmanager
    def source(self, source: Source) -> Iterator[None]:
        """Ask `source` for readings of gauges as long as this lasts."""
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)

    def collect(self) -> list[tuple[Instrument, Points]]:
        """Every instrument and its points; a gauge that nobody knows has none."""
        read: dict[Instrument, dict[Labels, float]] = {}
        with self._reading:
            for source in list(self._sources):
                for gauge, labels, value in source():
                    points = read.setdefault(gauge, {})
                    before = points.get(labels, 0)
                    points[labels] = max(before, value) if gauge.worst else before + value
            return [(i, read.get(i, {}) if isinstance(i, Gauge) else i.points()) for i in self.instruments]
