"""The configuration: its model, and (in ``load``) how a file, the environment and secrets become one."""

from ledgerd.config.model import (
    ROUTES,
    ClickHouse,
    Config,
    Daemon,
    Etl,
    Freshness,
    Http,
    Layer,
    Limit,
    Log,
    Realm,
    Retention,
    Roles,
    Route,
    RouteFreshness,
    Section,
    Spool,
    Sql,
    Throttle,
    Upstream,
    changes,
    dotted,
    needs_restart,
    restart_needed,
    user_agent,
)
from ledgerd.config.rules import Secret, is_loopback, parse_from

__all__ = [
    "ROUTES", "ClickHouse", "Config", "Daemon", "Etl", "Freshness", "Http", "Layer", "Limit", "Log", "Realm",
    "Retention", "Roles", "Route", "RouteFreshness", "Secret", "Section", "Spool", "Sql", "Throttle", "Upstream",
    "changes", "dotted", "is_loopback", "needs_restart", "parse_from", "restart_needed", "user_agent",
]  # fmt: skip
