"""The status as Prometheus gauges, beside the counters every event moves."""

from collections.abc import Callable, Iterator
from enum import StrEnum

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ledgerd.clock import Clock
from ledgerd.ledger.freshness import age_s
from ledgerd.ledger.ledger import Ledger
from ledgerd.status import DaemonState, EtlState, SourceState, SpoolState, Status, StoreState

Labels = list[str]


class LedgerdCollector(Collector):
    """Asks for the status at each scrape, so that ``/metrics`` and ``/status`` cannot disagree."""

    def __init__(self, status: Callable[[], Status], ledger: Ledger, clock: Clock) -> None:
        self._status = status
        self._ledger = ledger
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """The counters of the process, then every gauge."""
        yield from REGISTRY.collect()
        status = self._status()
        yield from _daemon(status)
        yield from _spool(status)
        yield from _sources(status)
        yield from _etl(status)
        yield _prices(self._ledger, self._clock.now())


def exposition(collector: Collector, accept: str) -> tuple[bytes, str]:
    """All metrics in the format ``accept`` asks for, and its content type; as plain text if that makes no sense."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # it compares versions, and one that is no number cannot be compared
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ledgerd_{name}", help_text, value=value)


def _states(family: GaugeMetricFamily, labels: Labels, states: type[StrEnum], now: StrEnum) -> None:
    """One sample for each of ``states``: 1 for the one it is in, 0 for the others."""
    for state in states:
        family.add_metric([*labels, state.value], float(state is now))


def _daemon(status: Status) -> Iterator[Metric]:
    state = GaugeMetricFamily("ledgerd_state", "1 for the state the daemon is in.", labels=["state"])
    _states(state, [], DaemonState, status.state)
    yield state
    info = GaugeMetricFamily("ledgerd_info", "Always 1; who answers.", labels=["version", "engine", "engine_version"])
    info.add_metric([status.version, status.store.engine, status.store.version], 1)
    yield info
    yield _gauge("uptime_seconds", "Seconds since the daemon started.", status.uptime_s)
    yield _gauge("store_up", "1 while the engine answers.", float(status.store.state is StoreState.OK))
    yield _gauge("config_generation", "Which configuration is in force.", status.config.generation)
    reload_ok = float(status.config.last_reload_error is None)
    yield _gauge("config_last_reload_ok", "1 if the last reload was taken.", reload_ok)


def _spool(status: Status) -> Iterator[Metric]:
    spool = status.spool
    yield _gauge("spool_pages", "Pages waiting on disk.", spool.pages)
    yield _gauge("spool_bytes", "Bytes of them.", spool.bytes)
    yield _gauge("spool_bytes_max", "Room for pages; when full, harvesting waits.", spool.bytes_max)
    yield _gauge("spool_oldest_age_seconds", "Age of the oldest page waiting; 0 if none.", spool.oldest_age_s or 0)
    state = GaugeMetricFamily("ledgerd_spool_state", "1 for the state the spool is in.", labels=["state"])
    _states(state, [], SpoolState, spool.state)
    yield state


def _sources(status: Status) -> Iterator[Metric]:
    lag = GaugeMetricFamily("ledgerd_source_lag_seconds", "Now minus the newest event committed.", labels=["source"])
    rate = GaugeMetricFamily("ledgerd_source_requests_per_second", "Average pace of requests.", labels=["source"])
    state = GaugeMetricFamily("ledgerd_source_state", "1 for the state a source is in.", labels=["source", "state"])
    for source in status.sources:
        if source.lag_s is not None:
            lag.add_metric([source.name], source.lag_s)
        rate.add_metric([source.name], source.avg_req_per_sec)
        _states(state, [source.name], SourceState, source.state)
    yield from (lag, rate, state)


def _etl(status: Status) -> Iterator[Metric]:
    labels = ["step", "source", "league"]
    behind = GaugeMetricFamily("ledgerd_etl_behind_batches", "Committed batches a step has not done.", labels=labels)
    lag = GaugeMetricFamily("ledgerd_etl_behind_seconds", "How much later the newest batch was fetched.", labels=labels)
    state = GaugeMetricFamily("ledgerd_etl_state", "1 for the state a step is in.", labels=[*labels, "state"])
    for step in status.etl:
        where = [step.step, step.source, step.league or ""]
        behind.add_metric(where, step.behind)
        if step.behind_s is not None:
            lag.add_metric(where, step.behind_s)
        _states(state, where, EtlState, step.state)
    yield from (behind, lag, state)


def _prices(ledger: Ledger, now_s: float) -> Metric:
    labels = ["realm", "league", "layer"]
    family = GaugeMetricFamily("ledgerd_newest_price_age_seconds", "Age of a league's newest prices.", labels=labels)
    for realm, leagues in ledger.markets().items():
        for league, market in leagues.items():
            for layer, prices in (("currency", market.currency), ("items", market.items)):
                if prices is not None:
                    family.add_metric([realm, league, layer], age_s(prices.as_of, now_s))
    return family
