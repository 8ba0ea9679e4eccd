-- What rests on the prices of items: how liquid things are, what stashes hold and how they change, what trading earned;
-- and the currencies the exchange has no market for, priced by the listings of their items.

ALTER TABLE silver_currency_norm
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) DEFAULT 'exchange',
    ADD COLUMN IF NOT EXISTS sellers UInt32 DEFAULT 0 CODEC(T64, ZSTD(1));

-- What the items of currencies are asked for, hour by hour, where the exchange has no market; in the order `rates` reads.
CREATE TABLE IF NOT EXISTS silver_currency_asks
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    currency LowCardinality(String),
    chaos_value Float64 CODEC(ZSTD(1)),
    divine_value Nullable(Float64) CODEC(ZSTD(1)),
    spread Float64 CODEC(ZSTD(1)),
    sellers UInt32 CODEC(T64, ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    low_sample Bool,
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, hour, currency)
SETTINGS non_replicated_deduplication_window = 1000;

-- `thing`: a currency's id where kind is 'currency', an item key where it is 'item'. Turnover is in chaos.
CREATE TABLE IF NOT EXISTS gold_liquidity
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    kind LowCardinality(String),
    thing String CODEC(ZSTD(1)),
    turnover_24h Nullable(Float64) CODEC(ZSTD(1)),
    sold_24h UInt64 CODEC(T64, ZSTD(1)),
    stock UInt64 CODEC(T64, ZSTD(1)),
    listings UInt32 CODEC(T64, ZSTD(1)),
    spread Nullable(Float64) CODEC(ZSTD(1)),
    sell_through Nullable(Float64) CODEC(ZSTD(1)),
    time_to_sell_s Nullable(Float64) CODEC(ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    rate_hour Nullable(DateTime('UTC')) CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    as_of DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, hour, kind, thing)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

-- What each stash held whenever it changed, valued in chaos: asked by its notes, and at market prices.
CREATE TABLE IF NOT EXISTS gold_stash_summary
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    stash_id String CODEC(ZSTD(1)),
    account String CODEC(ZSTD(1)),
    stash_name String CODEC(ZSTD(1)),
    stash_type LowCardinality(String),
    public Bool,
    items UInt32 CODEC(T64, ZSTD(1)),
    listed UInt32 CODEC(T64, ZSTD(1)),
    unconverted UInt32 CODEC(T64, ZSTD(1)),
    unpriced UInt32 CODEC(T64, ZSTD(1)),
    asked_chaos Float64 CODEC(ZSTD(1)),
    market_chaos Float64 CODEC(ZSTD(1)),
    unpriced_share Float64 CODEC(ZSTD(1)),
    changed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    rate_hour Nullable(DateTime('UTC')) CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    as_of DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, stash_id, hour)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

-- What each seller lists now: the newest row of each of his stashes that is still public.
CREATE VIEW IF NOT EXISTS gold_seller_summary AS
SELECT
    realm, league, account,
    count() AS stashes, sum(newest.1) AS items, sum(newest.2) AS listed, sum(newest.3) AS unconverted,
    sum(newest.4) AS unpriced,
    arraySum(arraySort(groupArray(newest.5))) AS asked_chaos,
    arraySum(arraySort(groupArray(newest.6))) AS market_chaos,
    if(items = 0, 0, unpriced / items) AS unpriced_share,
    max(stash_as_of) AS as_of
FROM
(
    SELECT
        realm, league, stash_id,
        max(summary.as_of) AS stash_as_of,
        argMax((items, listed, unconverted, unpriced, asked_chaos, market_chaos), summary.as_of) AS newest,
        argMax(summary.account, summary.as_of) AS account,
        argMax(public, summary.as_of) AS is_public
    FROM gold_stash_summary AS summary FINAL
    GROUP BY realm, league, stash_id
)
WHERE is_public
GROUP BY realm, league, account;

-- What happened in each stash, hour by hour: events counted, and their values in chaos where a price was readable.
CREATE TABLE IF NOT EXISTS gold_stash_diffs
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    stash_id String CODEC(ZSTD(1)),
    account String CODEC(ZSTD(1)),
    added UInt32 CODEC(T64, ZSTD(1)),
    removed UInt32 CODEC(T64, ZSTD(1)),
    repriced UInt32 CODEC(T64, ZSTD(1)),
    restacked UInt32 CODEC(T64, ZSTD(1)),
    unconverted UInt32 CODEC(T64, ZSTD(1)),
    added_chaos Float64 CODEC(ZSTD(1)),
    removed_chaos Float64 CODEC(ZSTD(1)),
    repriced_chaos Float64 CODEC(ZSTD(1)),
    restacked_chaos Float64 CODEC(ZSTD(1)),
    first_batch LowCardinality(String),
    last_batch LowCardinality(String),
    batch_id LowCardinality(String),
    as_of DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, stash_id, hour)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

-- What buying at the low of an earlier hour and selling at this hour's median earned: 0.05 is 5 %. Values in chaos.
CREATE TABLE IF NOT EXISTS gold_item_roi
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    kind LowCardinality(String),
    thing String CODEC(ZSTD(1)),
    chaos_value Float64 CODEC(ZSTD(1)),
    low_1h Nullable(Float64) CODEC(ZSTD(1)),
    low_24h Nullable(Float64) CODEC(ZSTD(1)),
    low_7d Nullable(Float64) CODEC(ZSTD(1)),
    roi_1h Nullable(Float64) CODEC(ZSTD(1)),
    roi_24h Nullable(Float64) CODEC(ZSTD(1)),
    roi_7d Nullable(Float64) CODEC(ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    rate_hour Nullable(DateTime('UTC')) CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    as_of DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, hour, kind, thing)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;
