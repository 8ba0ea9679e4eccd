-- What items are worth: one row per league, item key and hour; the rows of an hour are replaced until it is over.
-- Ordered by the hour, then the key: whoever asks what everything is worth now (the ledger, other gold, the next run)
-- reads one stretch of rows, however many hours are kept. Granules are small, so that one key's history is few rows too.

CREATE TABLE IF NOT EXISTS gold_item_prices
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    item_key String CODEC(ZSTD(1)),
    key UInt64 CODEC(ZSTD(1)),
    category LowCardinality(String),
    name String CODEC(ZSTD(1)),
    -- The price of one, and the range honest sellers ask in chaos. NULL: nobody can say.
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    divine_value Nullable(Float64) CODEC(ZSTD(1)),
    low Nullable(Float64) CODEC(ZSTD(1)),
    high Nullable(Float64) CODEC(ZSTD(1)),
    -- What stands behind it: listings with a readable price, what they hold, whose they are, and who is believed.
    listings UInt32 CODEC(T64, ZSTD(1)),
    units UInt64 CODEC(T64, ZSTD(1)),
    sellers UInt32 CODEC(T64, ZSTD(1)),
    rests_on_sellers UInt32 CODEC(T64, ZSTD(1)),
    confidence Float64 CODEC(ZSTD(1)),
    low_sample Bool,
    last_seen DateTime('UTC') CODEC(ZSTD(1)),
    -- Listings that ended as if sold, up to judged_until: later ones may yet come back.
    likely_sales_1h UInt32 CODEC(T64, ZSTD(1)),
    likely_sales_24h UInt32 CODEC(T64, ZSTD(1)),
    likely_sales_7d UInt32 CODEC(T64, ZSTD(1)),
    sale_value Nullable(Float64) CODEC(ZSTD(1)),
    time_on_market_s Nullable(UInt32) CODEC(ZSTD(1)),
    -- Chaos values of seven days: 28 quarters of a day (UTC), oldest first, the last one under way; 0: no price.
    sparkline Array(Float32) CODEC(ZSTD(1)),
    -- What the next run goes on from. Likely sales since the first run: now, at the end of each of the 24 hours before
    -- this one, and of each of the 28 quarters of a day before this one, oldest first; and the newest listings that
    -- ended quickly, newest first: when, chaos, how long they had stood, sipHash64 of the account (32 bits).
    sales_total UInt32 CODEC(T64, ZSTD(1)),
    totals_by_hour Array(UInt32) CODEC(ZSTD(1)),
    totals_by_quarter Array(UInt32) CODEC(ZSTD(1)),
    ends Array(Tuple(at DateTime('UTC'), chaos Float32, stood_s UInt32, seller UInt32)) CODEC(ZSTD(1)),
    judged_until DateTime('UTC') CODEC(ZSTD(1)),
    -- Where from: the exchange hour of the rates, the last batch refined, and its moment.
    rate_hour DateTime('UTC') CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    as_of DateTime64(3, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, hour, item_key)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;
