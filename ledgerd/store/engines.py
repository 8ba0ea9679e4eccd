"""The engine a configuration names."""

from ledgerd.config import Config
from ledgerd.store.engine import SERVER, Engine


def make_engine(config: Config) -> Engine:
    """The engine the configuration names, not yet open. Each imports its own library only: a server needs no chdb."""
    settings = config.clickhouse
    if settings.engine == SERVER:
        from ledgerd.store.server import ServerEngine  # noqa: PLC0415  the embedded engine does without it

        return ServerEngine(
            settings.url,
            user=settings.user,
            password=settings.password,
            database=settings.database,
            memory_bytes_max=settings.memory_bytes_max,
        )
    from ledgerd.store.embedded import EmbeddedEngine  # noqa: PLC0415  a server deployment does without it

    return EmbeddedEngine(config.db_dir, database=settings.database, memory_bytes_max=settings.memory_bytes_max)
