-- What upstream said, row by row, and the books we keep about fetching it.
-- Bronze is partitioned by the week it was retrieved in (never by the insert's own clock: a retry after midnight must
-- fall into the same partition), so that retention drops whole partitions and a batch touches one or two.

CREATE TABLE IF NOT EXISTS bronze_exchange_events
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
    batch_id LowCardinality(String),
    page_seq UInt32,
    retrieved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(retrieved_at, 'UTC')
ORDER BY (realm, hour, league, market_id)
TTL toDateTime(retrieved_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS bronze_requests
(
    source LowCardinality(String),
    realm LowCardinality(String),
    requested_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    url String CODEC(ZSTD(1)),
    cursor String CODEC(ZSTD(1)),
    status UInt16,
    body_bytes UInt64,
    elapsed_ms UInt32,
    outcome LowCardinality(String),
    error String CODEC(ZSTD(1)),
    retry_after_s Nullable(Float64),
    policy LowCardinality(String),
    batch_id LowCardinality(String),
    page_seq UInt32
)
ENGINE = MergeTree
PARTITION BY toMonday(requested_at, 'UTC')
ORDER BY (source, requested_at)
TTL toDateTime(requested_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS bronze_ingest_checkpoints
(
    source LowCardinality(String),
    realm LowCardinality(String),
    seq UInt64,
    batch_id String,
    cursor String,
    next_cursor String,
    pages UInt32,
    rows UInt64,
    rows_skipped UInt64,
    rows_quarantined UInt64,
    leagues Array(String),
    transform LowCardinality(String),
    token String,
    retrieved_at DateTime64(3, 'UTC'),
    committed_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (source, seq)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS bronze_gaps
(
    source LowCardinality(String),
    realm LowCardinality(String),
    cursor_from String,
    cursor_to String,
    gap_from Nullable(DateTime('UTC')),
    gap_to Nullable(DateTime('UTC')),
    reason LowCardinality(String),
    batch_id String,
    page_seq UInt32,
    retrieved_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (source, retrieved_at, cursor_from)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS bronze_quarantine
(
    source LowCardinality(String),
    realm LowCardinality(String),
    cursor String,
    reason LowCardinality(String),
    payload String CODEC(ZSTD(3)),
    payload_bytes UInt64,
    batch_id String,
    page_seq UInt32,
    retrieved_at DateTime64(3, 'UTC'),
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY toMonday(retrieved_at, 'UTC')
ORDER BY (source, retrieved_at)
TTL toDateTime(retrieved_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS poe_ingest_status
(
    source LowCardinality(String),
    kind LowCardinality(String),
    realm LowCardinality(String),
    state LowCardinality(String),
    last_cursor String,
    request_rate Float64,
    errors UInt64,
    last_error String,
    last_ingest_time Nullable(DateTime64(3, 'UTC')),
    stalled_since Nullable(DateTime64(3, 'UTC')),
    updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY source;

CREATE TABLE IF NOT EXISTS etl_runs
(
    step LowCardinality(String),
    version UInt32,
    source LowCardinality(String),
    seq UInt64,
    batch_id String,
    rows UInt64,
    seconds Float64,
    outcome LowCardinality(String),
    error String,
    started_at DateTime64(3, 'UTC'),
    finished_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (step, source, seq)
SETTINGS non_replicated_deduplication_window = 1000;

-- The door to bronze: a page goes into a Null table and views split it, so one INSERT with one token reaches every
-- target, and the same text serves both engines. The number in the name is the transform version a batch is sealed
-- with: a later version gets doors of its own and the old ones stay, so a batch never changes its meaning on a retry.

CREATE TABLE IF NOT EXISTS landing_exchange_1
(
    batch_id String,
    page_seq UInt32,
    source String,
    realm String,
    asked UInt32,
    next UInt32,
    gap_reason String,
    leagues Array(String),
    retrieved_at DateTime64(3, 'UTC'),
    body String
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS landing_exchange_markets_1
(
    batch_id String,
    page_seq UInt32,
    source String,
    realm String,
    asked UInt32,
    leagues Array(String),
    retrieved_at DateTime64(3, 'UTC'),
    market String,
    league String,
    market_id String,
    pair Array(String),
    numbers Array(Nullable(UInt64)),
    reason String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_exchange_split_1 TO landing_exchange_markets_1 AS
WITH
    JSONExtract(market, 'market_pair', 'Array(String)') AS named_pair,
    ['volume_traded', 'lowest_stock', 'highest_stock', 'lowest_ratio', 'highest_ratio'] AS fields
SELECT
    batch_id, page_seq, source, realm, asked, leagues, retrieved_at, market,
    JSONExtractString(market, 'league') AS league,
    JSONExtractString(market, 'market_id') AS market_id,
    if(empty(named_pair), splitByChar('|', market_id), named_pair) AS pair,
    arrayFlatten([
        arrayMap(f -> toUInt64OrNull(JSONExtractRaw(market, f, pair[1])), fields),
        arrayMap(f -> toUInt64OrNull(JSONExtractRaw(market, f, pair[2])), fields)
    ]) AS numbers,
    multiIf(
        JSONType(market) != 'Object', 'market is not an object',
        empty(league), 'market without league',
        empty(market_id), 'market without market_id',
        length(pair) != 2 OR has(pair, ''), 'market_pair is not two ids',
        arrayExists(n -> isNull(n), numbers), 'a number is missing or does not fit UInt64',
        ''
    ) AS reason
FROM
(
    SELECT batch_id, page_seq, source, realm, asked, leagues, retrieved_at,
        arrayJoin(JSONExtractArrayRaw(body, 'markets')) AS market
    FROM landing_exchange_1
)
WHERE empty(league) OR has(leagues, league) OR (has(leagues, '*') AND NOT match(league, '\\(PL\\d+\\)$'));

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_exchange_store_1 TO bronze_exchange_events AS
SELECT
    realm, league, toDateTime(asked, 'UTC') AS hour, market_id, pair[1] AS currency_a, pair[2] AS currency_b,
    assumeNotNull(numbers[1]) AS volume_a, assumeNotNull(numbers[6]) AS volume_b,
    assumeNotNull(numbers[2]) AS lowest_stock_a, assumeNotNull(numbers[7]) AS lowest_stock_b,
    assumeNotNull(numbers[3]) AS highest_stock_a, assumeNotNull(numbers[8]) AS highest_stock_b,
    assumeNotNull(numbers[4]) AS lowest_ratio_a, assumeNotNull(numbers[9]) AS lowest_ratio_b,
    assumeNotNull(numbers[5]) AS highest_ratio_a, assumeNotNull(numbers[10]) AS highest_ratio_b,
    batch_id, page_seq, retrieved_at
FROM landing_exchange_markets_1
WHERE empty(reason);

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_exchange_quarantine_1 TO bronze_quarantine AS
SELECT
    source, realm, toString(asked) AS cursor, reason, market AS payload, length(market) AS payload_bytes,
    batch_id, page_seq, retrieved_at
FROM landing_exchange_markets_1
WHERE notEmpty(reason);

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_exchange_gaps_1 TO bronze_gaps AS
WITH if(empty(gap_reason), asked + 3600, asked) AS first_missing
SELECT
    source, realm, toString(first_missing) AS cursor_from, toString(next) AS cursor_to,
    toDateTime(first_missing, 'UTC') AS gap_from, toDateTime(next, 'UTC') AS gap_to,
    if(empty(gap_reason), 'upstream skipped these hours', gap_reason) AS reason,
    batch_id, page_seq, retrieved_at
FROM landing_exchange_1
WHERE next > first_missing;
