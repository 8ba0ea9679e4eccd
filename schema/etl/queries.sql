-- The books of ETL: what is committed, how far each step is, what retention may let go of.

-- name: newest_batches
-- The newest committed batch of every source.
SELECT source, max(seq) FROM bronze_ingest_checkpoints GROUP BY source ORDER BY source;

-- name: batches_above
-- The first committed batches of a source beyond a watermark, in order.
SELECT source, realm, seq, batch_id, toUInt32OrZero(cursor), toUInt32OrZero(next_cursor)
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND toInt64(seq) > {above:Int64}
ORDER BY seq
LIMIT 1 BY seq
LIMIT {most:UInt32};

-- name: watermarks
-- By source, the last committed batch before the first one a step has not done; no row where that is the first.
WITH
    arraySort(groupUniqArray((seq, is_done))) AS batches,
    arrayFirstIndex(batch -> NOT batch.2, batches) AS first_open
SELECT source, toInt64(batches[if(first_open = 0, length(batches), first_open - 1)].1) AS watermark
FROM
(
    SELECT
        source,
        seq,
        (source, seq) IN
        (
            SELECT source, seq FROM etl_runs
            WHERE step = {step:String} AND version = {version:UInt32} AND outcome = 'ok'
        ) AS is_done
    FROM bronze_ingest_checkpoints
)
GROUP BY source
HAVING first_open != 1
ORDER BY source;

-- name: tick_hours
-- The hours of a span that have ticks, unix seconds.
SELECT DISTINCT toUInt32(hour) AS hour_s
FROM silver_exchange_ticks
WHERE realm = {realm:String} AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}
ORDER BY hour_s;

-- name: reference_content
-- The reference table as it is, in the order it is written in.
SELECT game, metadata_id, name, trade_tag, category FROM reference_currencies FINAL ORDER BY ALL;

-- name: oldest_open
-- Of a source, the first batch beyond a watermark: when it was fetched and the first hour it asked; no row if none waits.
SELECT toFloat64(retrieved_at), toUInt32OrZero(cursor)
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND toInt64(seq) > {above:Int64}
ORDER BY seq
LIMIT 1;

-- name: partitions
-- What the tables hold, partition by partition.
SELECT table, partition_id, sum(rows), sum(bytes_on_disk)
FROM system.parts
WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)}
GROUP BY table, partition_id
ORDER BY table, partition_id;

-- name: table_ttls
-- The days each table's TTL keeps rows, 0 where it has none.
SELECT name, toUInt32OrZero(extract(engine_full, 'TTL .*?toIntervalDay\\((\\d+)\\)'))
FROM system.tables
WHERE database = currentDatabase() AND name IN {tables:Array(String)}
ORDER BY name;
