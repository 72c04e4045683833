"""The bars: what the figures must reach, and how each is worked out from what was measured.

CPU time for each call is the currency: it and its ratios hold on a shared machine, wall-clock figures do not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from bench import servers
from bench.grid import CALLERS, STREAMS, UNDER_WAY, Point, Samples, middle, pipelined, stream, unary

SIZES = (1, 10, 100)
LARGE, LARGE_CALLERS = 1000, 10
"""Few callers: fifty answers of this size under way would measure the memory of the machine."""

ONE_CALLER = 1
ONE_CALLER_KEYS = 10

OF_GO_MIN = {1: 0.14, 10: 0.18, 100: 0.36}
TIMES_NAIVE_MIN = 2.3
STREAM_TIMES_MIN = 1.7
LAYERS_US_OF_CALL_MAX = 25.0
LAYERS_US_OF_KEY_MAX = 0.3
LMDB_US_OF_KEY_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """``held``: whether ``figure`` reaches ``bar``, both with their unit as people read them; None: shown beside, without a bar."""

    name: str
    figure: str
    bar: str
    held: bool | None


def at_least(name: str, figure: float, bar: float, form: str) -> Bar:
    return Bar(name, form.format(figure), "≥ " + form.format(bar), figure >= bar)


def at_most(name: str, figure: float, bar: float, form: str) -> Bar:
    return Bar(name, form.format(figure), "≤ " + form.format(bar), figure <= bar)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``points`` must be measured for ``judge``."""

    points: tuple[Point, ...]
    judge: Callable[[Samples], list[Bar]]


def _cpu(samples: Samples, point: Point) -> float:
    return middle(samples[point]).cpu_us


ON_TRANSPORTS = {servers.OURS: "", servers.ON_GRPCIO: " on grpcio"}


def _of_go(samples: Samples) -> list[Bar]:
    """Calls for each CPU second are the inverse of CPU time for each call."""

    def share(server: str, keys: int) -> float:
        return _cpu(samples, unary(servers.GO, keys)) / _cpu(samples, unary(server, keys))

    name = "MultiGet of {}, calls a CPU second{} against the Go peer"
    return [
        at_least(name.format(keys, where), share(server, keys), least, "{:.0%}")
        for server, where in ON_TRANSPORTS.items()
        for keys, least in OF_GO_MIN.items()
    ]


def _times_naive(samples: Samples) -> list[Bar]:
    """The naive server takes the newest grpcio, as pip gives it; how much of the ratio is that alone is shown beside it."""

    def times(naive: str, keys: int, ours: str = servers.OURS) -> float:
        return _cpu(samples, unary(naive, keys)) / _cpu(samples, unary(ours, keys))

    name = "MultiGet of {}, calls a CPU second{} against {}"
    label, held = servers.LABELS[servers.NAIVE], servers.NAIVE_HELD
    judged = [
        at_least(name.format(n, where, label), times(servers.NAIVE, n, server), TIMES_NAIVE_MIN, "{:.2f} x")
        for server, where in ON_TRANSPORTS.items()
        for n in SIZES
    ]
    return judged + [Bar(name.format(n, "", servers.LABELS[held]), f"{times(held, n):.2f} x", "no bar", held=None) for n in SIZES]


def _stream(samples: Samples) -> list[Bar]:
    """Each transport by the shape whose cost it can save (bench/README.md): on native a call costs little more than a message, and a
    stream saves where several messages come together; on grpcio it saves the call, and messages of one stream come one by one.
    """

    def times(point: Point) -> float:
        return _cpu(samples, unary(point.server, 10)) / _cpu(samples, point)

    name = "StreamMultiGet of 10 against MultiGet of 10, CPU a message, {}, {} under way"
    several, one = f"{STREAMS} streams with {UNDER_WAY} messages", "one message a stream"
    native = servers.DEFAULT_TRANSPORT
    judged = [
        (name.format(native, several), times(pipelined(servers.OURS, 10))),
        (name.format("on grpcio", one), times(stream(servers.ON_GRPCIO, 10))),
    ]
    beside = [
        (name.format(native, one), times(stream(servers.OURS, 10))),
        (name.format("on grpcio", several), times(pipelined(servers.ON_GRPCIO, 10))),
    ]
    return [at_least(shown, figure, STREAM_TIMES_MIN, "{:.2f} x") for shown, figure in judged] + [
        Bar(shown, f"{figure:.2f} x", "no bar", held=None) for shown, figure in beside
    ]


def _layers(samples: Samples) -> list[Bar]:
    """The difference of a call with and without layers is a + b * keys: b from the largest calls, then a from the smallest.

    Rounds are paired, so that what drifts on the machine is in both halves of a difference.
    """

    def difference(keys: int, callers: int) -> float:
        with_layers, bare = (samples[unary(server, keys, callers)] for server in (servers.OURS, servers.BARE))
        return median(layered.cpu_us - naked.cpu_us for layered, naked in zip(with_layers, bare, strict=True))

    of_one = difference(1, CALLERS)
    of_key = (difference(LARGE, LARGE_CALLERS) - of_one) / (LARGE - 1)
    return [
        at_most("all layers together, CPU a call", of_one - of_key, LAYERS_US_OF_CALL_MAX, "{:.1f} µs"),
        at_most("all layers together, CPU a key", of_key, LAYERS_US_OF_KEY_MAX, "{:.2f} µs"),
    ]


def _lmdb_key(samples: Samples) -> list[Bar]:
    """What 90 more keys in a call cost on LMDB, less what their bytes cost a transport that only echoes."""

    def ninety_keys(server: str) -> float:
        return _cpu(samples, unary(server, 100)) - _cpu(samples, unary(server, 10))

    of_key = (ninety_keys(servers.LMDB) - ninety_keys(servers.TRANSPORT)) / 90
    return [at_most("embedded LMDB, CPU a key beyond the transport", of_key, LMDB_US_OF_KEY_MAX, "{:.2f} µs")]


def _lmdb_latency(samples: Samples) -> list[Bar]:
    def p50(server: str) -> float:
        return middle(samples[unary(server, ONE_CALLER_KEYS, ONE_CALLER)]).p50_us

    lmdb, redis = p50(servers.LMDB), p50(servers.OURS)
    return [Bar("p50 of one caller on LMDB against Redis, MultiGet of 10", f"{lmdb:.0f} µs", f"< {redis:.0f} µs", lmdb < redis)]


def _unary_points(*names: str) -> tuple[Point, ...]:
    return tuple(unary(name, keys) for name in names for keys in SIZES)


LAYERED = (servers.OURS, servers.BARE)

COMPARISONS: Mapping[str, Comparison] = {
    "go": Comparison(_unary_points(servers.OURS, servers.ON_GRPCIO, servers.GO), _of_go),
    "naive": Comparison(_unary_points(servers.OURS, servers.ON_GRPCIO, servers.NAIVE, servers.NAIVE_HELD), _times_naive),
    "stream": Comparison(
        tuple(point(name, 10) for name in (servers.OURS, servers.ON_GRPCIO) for point in (pipelined, stream, unary)), _stream
    ),
    "layers": Comparison((*_unary_points(*LAYERED), *(unary(name, LARGE, LARGE_CALLERS) for name in LAYERED)), _layers),
    "lmdb": Comparison(_unary_points(servers.LMDB, servers.TRANSPORT, servers.TRANSPORT_GRPCIO), _lmdb_key),
    "latency": Comparison(tuple(unary(name, ONE_CALLER_KEYS, ONE_CALLER) for name in (servers.LMDB, servers.OURS)), _lmdb_latency),
}


def judge(names: list[str], samples: Samples) -> list[Bar]:
    return [bar for name in names for bar in COMPARISONS[name].judge(samples)]
