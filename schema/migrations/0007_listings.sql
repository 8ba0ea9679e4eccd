-- Items, refined: who lists what (silver), what it is worth (gold).
-- Everything is a Replacing table keyed by what a row is about, so that a batch that is refined again, by whatever group
-- of leagues, replaces itself. A stash is known by realm, league and id: each league refines the same batches by
-- itself, and one that leaves a league keeps a row there, empty and not public.

-- What happened to items, in the order of batches: the history everything else is made from. `item` is sipHash64 of the
-- item's id. For 'listed', 'repriced' and 'stack' the columns say what is true since; for 'gone' what was true until then.
-- An item without a readable price has amount 0, and `reason` says why where somebody meant to write one.
CREATE TABLE IF NOT EXISTS silver_listing_events
(
    realm LowCardinality(String),
    league LowCardinality(String),
    batch_id LowCardinality(String),
    stash_id String CODEC(ZSTD(1)),
    item UInt64,
    page_seq UInt32,
    event Enum8('listed' = 1, 'repriced' = 2, 'stack' = 3, 'gone' = 4),
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    change_id String CODEC(ZSTD(1)),
    account String CODEC(ZSTD(1)),
    item_id String CODEC(ZSTD(1)),
    key UInt64,
    item_key String CODEC(ZSTD(1)),
    note String CODEC(ZSTD(1)),
    reason LowCardinality(String),
    amount Float64 CODEC(ZSTD(1)),
    currency LowCardinality(String),
    stack UInt32 CODEC(T64, ZSTD(1)),
    was_amount Float64 CODEC(ZSTD(1)),
    was_currency LowCardinality(String),
    was_stack UInt32 CODEC(T64, ZSTD(1)),
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    rate Nullable(Float64) CODEC(ZSTD(1)),
    listed_at DateTime('UTC') CODEC(ZSTD(1)),
    changed_at DateTime('UTC') CODEC(ZSTD(1)),
    repriced UInt16,
    stood_s UInt32 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(at, 'UTC')
ORDER BY (realm, batch_id, league, stash_id, item, page_seq, event)
SETTINGS non_replicated_deduplication_window = 1000;

-- The newest state of each stash. The arrays hold one entry per item, in the order of `item`: narrow, because every
-- change of a stash reads and writes them; what is readable about an item is in silver_priced_items and silver_item_keys.
-- unread: the item, or the price somebody gave it, cannot be read; silver_quarantine says why.
-- Small granules: the stashes of a batch are found one by one, however many there are.
CREATE TABLE IF NOT EXISTS silver_canonical_stashes
(
    realm LowCardinality(String),
    stash_id String CODEC(ZSTD(1)),
    league LowCardinality(String),
    account String CODEC(ZSTD(1)),
    stash_name String CODEC(ZSTD(1)),
    stash_type LowCardinality(String),
    public Bool,
    item_count UInt32,
    change_id String CODEC(ZSTD(1)),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC'),
    batch_id LowCardinality(String),
    page_seq UInt32,
    item Array(UInt64),
    key Array(UInt64),
    amount Array(Float64),
    currency Array(LowCardinality(String)),
    stack Array(UInt32),
    listed_at Array(DateTime('UTC')),
    changed_at Array(DateTime('UTC')),
    repriced Array(UInt16),
    unread Array(Bool)
)
ENGINE = ReplacingMergeTree(last_seen)
ORDER BY (realm, stash_id, league)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 16, min_compress_block_size = 4096,
    max_compress_block_size = 4096;

-- What is said about each listing with a price, as of its last change; silver_priced_items shows those that stand.
CREATE TABLE IF NOT EXISTS silver_listings
(
    realm LowCardinality(String),
    league LowCardinality(String),
    stash_id String CODEC(ZSTD(1)),
    item UInt64,
    item_id String CODEC(ZSTD(1)),
    item_key String CODEC(ZSTD(1)),
    account String CODEC(ZSTD(1)),
    note String CODEC(ZSTD(1)),
    amount Float64 CODEC(ZSTD(1)),
    currency LowCardinality(String),
    chaos_value Nullable(Float64) CODEC(ZSTD(1)),
    rate Nullable(Float64) CODEC(ZSTD(1)),
    stack UInt32 CODEC(T64, ZSTD(1)),
    listed_at DateTime('UTC') CODEC(ZSTD(1)),
    changed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    repriced UInt16,
    batch_id LowCardinality(String),
    is_gone UInt8
)
ENGINE = ReplacingMergeTree(changed_at, is_gone)
PARTITION BY (realm, league)
ORDER BY (realm, league, stash_id, item)
SETTINGS non_replicated_deduplication_window = 1000, allow_experimental_replacing_merge_with_cleanup = 1;

-- One row per live listing with a price. last_seen: when its stash last changed, and the listing still stood in it.
CREATE VIEW IF NOT EXISTS silver_priced_items AS
SELECT
    listing.realm AS realm, listing.league AS league, listing.stash_id AS stash_id, item, item_id, item_key,
    listing.account AS account, note, amount, currency, chaos_value, rate, stack,
    listed_at AS first_seen, stash.last_seen AS last_seen, changed_at, repriced, listing.batch_id AS batch_id
FROM silver_listings AS listing FINAL
INNER JOIN silver_canonical_stashes AS stash FINAL
    ON stash.realm = listing.realm AND stash.league = listing.league AND stash.stash_id = listing.stash_id;

-- What a key of the arrays stands for. `item_key` is `category|name|part=value|…`, see docs/item-keys.md.
CREATE TABLE IF NOT EXISTS silver_item_keys
(
    key UInt64,
    item_key String CODEC(ZSTD(1)),
    category LowCardinality(String),
    name String CODEC(ZSTD(1)),
    parts Map(LowCardinality(String), String)
)
ENGINE = ReplacingMergeTree
ORDER BY key
SETTINGS non_replicated_deduplication_window = 1000;

-- What one of each currency was worth in chaos, hour by hour: silver_currency_price in the order a batch of listings asks
-- for it.
CREATE TABLE IF NOT EXISTS silver_currency_rates
(
    realm LowCardinality(String),
    league LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    currency LowCardinality(String),
    rate Float64 CODEC(ZSTD(1)),
    batch_id LowCardinality(String),
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(retrieved_at)
PARTITION BY toYYYYMM(hour, 'UTC')
ORDER BY (realm, league, hour, currency)
SETTINGS non_replicated_deduplication_window = 1000;

-- What could not be read: items whose numbers fit nothing, and notes that mean a price in no one way.
CREATE VIEW IF NOT EXISTS silver_quarantine AS
SELECT realm, league, batch_id, page_seq, stash_id, item_id, note, reason, at
FROM silver_listing_events
WHERE notEmpty(reason) AND event != 'gone';

-- How far each step is, by source and lane (a league of a river; empty for what has no lanes): the row with the highest
-- seq. Until now that was read from etl_runs, all of it; that is a log now, of exchanges and of what failed. era: how often a step was told
-- to begin again; only its newest one counts. retrieved_at: when the batch was fetched. seconds: what it took.
CREATE TABLE IF NOT EXISTS etl_watermarks
(
    step LowCardinality(String),
    version UInt32,
    source LowCardinality(String),
    league LowCardinality(String),
    era UInt32,
    seq Int64,
    batch_id String,
    retrieved_at DateTime64(3, 'UTC'),
    seconds Float64,
    written_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (step, version, source, league, era);

INSERT INTO etl_watermarks
SELECT step, version, source, '', 0, max(runs.seq), argMax(runs.batch_id, runs.seq), argMax(batches.retrieved_at, runs.seq),
    argMax(runs.seconds, runs.seq), max(finished_at)
FROM etl_runs AS runs
LEFT JOIN bronze_ingest_checkpoints AS batches ON batches.source = runs.source AND batches.seq = runs.seq
WHERE outcome = 'ok'
GROUP BY step, version, source;

ALTER TABLE etl_runs ADD COLUMN IF NOT EXISTS leagues Array(String);

ALTER TABLE etl_runs MODIFY TTL toDateTime(finished_at) + INTERVAL 400 DAY;
