-- How every source has been: a row whenever it turned well or ill, and as its cursor moves on. Until now there was one
-- row a source, as it is; what that held is written anew within seconds of the start. The newest row of a source:
-- SELECT * FROM poe_ingest_status ORDER BY updated_at DESC LIMIT 1 BY source.

DROP TABLE IF EXISTS poe_ingest_status;

CREATE TABLE IF NOT EXISTS poe_ingest_status
(
    source LowCardinality(String),
    kind LowCardinality(String),
    realm LowCardinality(String),
    state LowCardinality(String),
    last_cursor String CODEC(ZSTD(1)),
    request_rate Float64,
    errors UInt64,
    last_error String CODEC(ZSTD(1)),
    last_ingest_time Nullable(DateTime64(3, 'UTC')),
    stalled_since Nullable(DateTime64(3, 'UTC')),
    retry_after_s Nullable(Float64),
    lag_s Nullable(Float64),
    updated_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(updated_at, 'UTC')
ORDER BY (source, updated_at)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
