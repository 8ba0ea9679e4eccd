-- Bronze at a glance. Pipe into clickhouse-client --multiquery --database poe_trade, or run one by one: ledgerd sql "…".
-- Each query says above it what good looks like.

-- Coverage and age. Good: hours_missing 0 or equal to the hours of bronze_gaps; newest_age_h below 3 while harvesting.
SELECT
    realm, league, count() AS markets, uniqExact(hour) AS hours, min(hour) AS oldest, max(hour) AS newest,
    dateDiff('hour', min(hour), max(hour)) + 1 - uniqExact(hour) AS hours_missing,
    dateDiff('hour', max(hour), now('UTC')) AS newest_age_h
FROM bronze_exchange_events
GROUP BY realm, league
ORDER BY realm, markets DESC;

-- Books against rows, batch by batch, the last 50 that differ. Good: no rows (partitions that retention dropped aside).
SELECT
    c.source AS source, c.seq AS seq, c.batch_id AS batch_id, c.rows AS rows_booked,
    e.stored AS rows_stored, q.kept AS rows_quarantined
FROM bronze_ingest_checkpoints AS c
LEFT JOIN (SELECT batch_id, count() AS stored FROM bronze_exchange_events GROUP BY batch_id) AS e ON e.batch_id = c.batch_id
LEFT JOIN
(
    SELECT batch_id, count() AS kept FROM bronze_quarantine
    WHERE NOT startsWith(reason, 'the engine stored')
    GROUP BY batch_id
) AS q ON q.batch_id = c.batch_id
WHERE startsWith(c.source, 'exchange-') AND rows_booked != rows_stored + rows_quarantined
ORDER BY c.committed_at DESC
LIMIT 50;

-- The river by lane, the last 24 hours. Good: newest_age_s near 300 plus a few while harvesting; league '' is tombstones.
SELECT
    realm, league, count() AS changes, uniqExact(stash_id) AS stashes, sum(item_count) AS items,
    countIf(NOT public) AS tombstones, formatReadableSize(sum(length(payload))) AS json,
    dateDiff('second', max(retrieved_at), now64(3, 'UTC')) AS newest_age_s
FROM bronze_raw_stashes
WHERE retrieved_at > now('UTC') - INTERVAL 24 HOUR
GROUP BY realm, league
ORDER BY realm, changes DESC;

-- The river's leagues nobody asked for, the last 24 hours. Good: none that you miss.
SELECT realm, league, sum(stashes) AS changes_left_out, sum(items) AS items_left_out
FROM bronze_river_counts
WHERE NOT stored AND retrieved_at > now('UTC') - INTERVAL 24 HOUR
GROUP BY realm, league
ORDER BY realm, changes_left_out DESC;

-- The river's books against its rows, batch by batch, the last 50 that differ. Good: no rows (partitions that retention
-- dropped aside).
SELECT
    c.source AS source, c.seq AS seq, c.batch_id AS batch_id, c.rows AS rows_booked, c.rows_skipped AS rows_skipped,
    s.kept AS rows_stored, n.kept AS counted_stored, n.left_out AS counted_skipped
FROM bronze_ingest_checkpoints AS c
LEFT JOIN (SELECT batch_id, count() AS kept FROM bronze_raw_stashes GROUP BY batch_id) AS s ON s.batch_id = c.batch_id
LEFT JOIN
(
    SELECT batch_id, sumIf(stashes, stored) AS kept, sumIf(stashes, NOT stored) AS left_out
    FROM bronze_river_counts
    GROUP BY batch_id
) AS n ON n.batch_id = c.batch_id
WHERE startsWith(c.source, 'river-')
    AND (rows_booked != rows_stored OR rows_stored != counted_stored OR rows_skipped != counted_skipped)
ORDER BY c.committed_at DESC
LIMIT 50;

-- Chains. Good: breaks 0 (each batch begins where the one before ended), twice 0 (no batch committed two times).
SELECT
    source, count() AS batches, max(seq) AS newest_seq, sum(pages) AS pages,
    countIf(NOT is_first AND cursor != cursor_expected) AS breaks, count() - uniqExact(seq) AS twice,
    max(committed_at) AS last_commit
FROM
(
    SELECT
        source, seq, cursor, pages, committed_at,
        row_number() OVER by_seq = 1 AS is_first,
        lagInFrame(next_cursor) OVER by_seq AS cursor_expected
    FROM bronze_ingest_checkpoints
    WINDOW by_seq AS (PARTITION BY source ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
GROUP BY source
ORDER BY source;

-- Gaps, newest first. Good: few, and only with reasons that lie with upstream.
SELECT source, reason, gap_from, gap_to, dateDiff('hour', gap_from, gap_to) AS hours, retrieved_at
FROM bronze_gaps
ORDER BY retrieved_at DESC
LIMIT 50;

-- Quarantine by reason. Good: empty; a reason that grows means that upstream changed its shape.
SELECT
    source, reason, count() AS entries, formatReadableSize(sum(payload_bytes)) AS size,
    min(retrieved_at) AS first_seen, max(retrieved_at) AS last_seen
FROM bronze_quarantine
GROUP BY source, reason
ORDER BY entries DESC;

-- Requests of the last 7 days by outcome. Good: status 200, and a 404 an hour at the edge; slowest_ms in the thousands at most.
SELECT
    source, outcome, status, count() AS requests, round(avg(elapsed_ms)) AS mean_ms, max(elapsed_ms) AS slowest_ms,
    formatReadableSize(sum(body_bytes)) AS received, max(requested_at) AS last_time
FROM bronze_requests
WHERE requested_at > now('UTC') - INTERVAL 7 DAY
GROUP BY source, outcome, status
ORDER BY source, requests DESC;

-- Size. Good: below 25 bytes a row of bronze_exchange_events, and tens of parts, not thousands.
SELECT
    table, count() AS parts, sum(rows) AS row_count, formatReadableSize(sum(bytes_on_disk)) AS size,
    round(sum(bytes_on_disk) / sum(rows), 1) AS bytes_per_row
FROM system.parts
WHERE active AND database = currentDatabase() AND startsWith(table, 'bronze_')
GROUP BY table
ORDER BY sum(bytes_on_disk) DESC;
