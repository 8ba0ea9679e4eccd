-- Currency, refined: ticks, normalised values and prices (silver), snapshots (gold).
-- Silver and gold are Replacing tables keyed by what a row is about: an hour that is refined again, by a later batch or
-- after a crash, replaces itself. They are partitioned by the month of their data time.

CREATE TABLE IF NOT EXISTS reference_currencies
(
    game LowCardinality(String),
    metadata_id String,
    name String,
    trade_tag String,
    category LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (game, metadata_id);

CREATE TABLE IF NOT EXISTS silver_exchange_ticks
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    market_id String CODEC(ZSTD(3)),
    currency_a LowCardinality(String),
    currency_b LowCardinality(String),
    volume_a UInt64 CODEC(T64, ZSTD(1)),
    volume_b UInt64 CODEC(T64, ZSTD(1)),
    lowest_stock_a UInt64 CODEC(T64, ZSTD(1)),
    lowest_stock_b UInt64 CODEC(T64, ZSTD(1)),
    highest_stock_a UInt64 CODEC(T64, ZSTD(1)),
    highest_stock_b UInt64 CODEC(T64, ZSTD(1)),
    lowest_ratio_a UInt64 CODEC(T64, ZSTD(1)),
    lowest_ratio_b UInt64 CODEC(T64, ZSTD(1)),
    highest_ratio_a UInt64 CODEC(T64, ZSTD(1)),
    highest_ratio_b UInt64 CODEC(T64, ZSTD(1)),
    vwap Nullable(Float64) CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, hour, league, market_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS silver_currency_norm
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    currency LowCardinality(String),
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    divine_value Nullable(Float64) CODEC(ZSTD(1)),
    units UInt64 CODEC(T64, ZSTD(1)),
    value_traded Nullable(Float64) CODEC(ZSTD(1)),
    markets UInt32,
    spread Float64 CODEC(ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    log_sd Nullable(Float64) CODEC(ZSTD(1)),
    low_sample Bool,
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, currency, hour)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS silver_currency_price
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    currency LowCardinality(String),
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    divine_value Nullable(Float64) CODEC(ZSTD(1)),
    units UInt64 CODEC(T64, ZSTD(1)),
    value_traded Nullable(Float64) CODEC(ZSTD(1)),
    markets UInt32,
    spread Float64 CODEC(ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    rests_on_hours UInt8,
    low_sample Bool,
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, currency, hour)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS gold_currency_snapshot
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    currency LowCardinality(String),
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    divine_value Nullable(Float64) CODEC(ZSTD(1)),
    open_24h Nullable(Float64) CODEC(ZSTD(1)),
    high_24h Nullable(Float64) CODEC(ZSTD(1)),
    low_24h Nullable(Float64) CODEC(ZSTD(1)),
    units UInt64 CODEC(T64, ZSTD(1)),
    units_24h UInt64 CODEC(T64, ZSTD(1)),
    value_traded_24h Float64 CODEC(ZSTD(1)),
    change_1h Nullable(Float64) CODEC(ZSTD(1)),
    change_24h Nullable(Float64) CODEC(ZSTD(1)),
    change_7d Nullable(Float64) CODEC(ZSTD(1)),
    volatility_24h Nullable(Float64) CODEC(ZSTD(1)),
    spread Float64 CODEC(ZSTD(1)),
    markets UInt32,
    confidence Float64 CODEC(ZSTD(1)),
    low_sample Bool,
    rests_on_hours UInt8,
    hours_24h UInt8,
    hours_7d UInt8,
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, currency, hour)
SETTINGS non_replicated_deduplication_window = 1000;
