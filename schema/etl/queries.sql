-- The books of ETL: what is committed, how far each step is, what retention may let go of.

-- name: new_sources
-- The sources that have committed something, but for those that are known.
SELECT DISTINCT source FROM bronze_ingest_checkpoints WHERE source NOT IN {known:Array(String)} ORDER BY source;

-- name: newest_batch
-- The last committed batch of a source.
SELECT seq, toFloat64(retrieved_at)
FROM bronze_ingest_checkpoints
WHERE source = {source:String}
ORDER BY seq DESC
LIMIT 1;

-- name: batches_from
-- The committed batches of a source from one on, in order; one that was committed twice may come twice.
SELECT realm, seq, batch_id, toUInt32OrZero(cursor), toUInt32OrZero(next_cursor), toFloat64(retrieved_at)
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND seq >= {from:UInt64}
ORDER BY seq
LIMIT {most:UInt32};

-- name: lanes_of
-- The public leagues that changes of some batches are filed under, by batch; private ones if they were asked for by name.
SELECT counts.batch_id, arraySort(groupUniqArray(toString(counts.league))) AS lanes
FROM bronze_river_counts AS counts
INNER JOIN
(
    SELECT batch_id, leagues
    FROM bronze_ingest_checkpoints
    WHERE source = {source:String} AND seq >= {from:UInt64} AND seq <= {to:UInt64}
) AS batches ON batches.batch_id = counts.batch_id
WHERE counts.realm = {realm:String}
    AND counts.batch_id IN {batch_ids:Array(String)}
    AND stored
    AND notEmpty(league)
    AND (has(batches.leagues, league) OR NOT match(league, '\\(PL\\d+\\)$'))
GROUP BY counts.batch_id;

-- name: marks
-- The watermarks of every step, version, source, lane and era: the last batch done, when it was fetched, what it took.
SELECT step, version, source, league, era, max(seq), toFloat64(argMax(retrieved_at, seq)), argMax(seconds, seq)
FROM etl_watermarks
GROUP BY step, version, source, league, era
ORDER BY step, version, source, league, era;

-- name: first_stored_exchange
-- The first batch of an exchange whose markets bronze still has.
SELECT min(seq)
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND batch_id IN (SELECT batch_id FROM bronze_exchange_events)
HAVING count() > 0;

-- name: first_stored_river
-- The first batch of a river of which bronze still has changes that are filed under a league.
SELECT min(seq)
FROM bronze_ingest_checkpoints
WHERE source = {source:String}
    AND batch_id IN (SELECT batch_id FROM bronze_river_counts WHERE stored AND notEmpty(league))
HAVING count() > 0;

-- name: lost_batches
-- How many batches of a river, of those that had changes, bronze has no longer.
SELECT count()
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND rows > 0 AND batch_id NOT IN (SELECT batch_id FROM bronze_river_counts);

-- name: first_fetched
-- The first batch of a source that was fetched at a time or later.
SELECT min(seq)
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND toFloat64(retrieved_at) >= {since:Float64}
HAVING count() > 0;

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
WHERE source = {source:String} AND seq >= {from:UInt64}
ORDER BY seq
LIMIT 1;

-- name: gone_listings
-- The partitions of silver_listings that hold rows which say that a listing went, and their share.
SELECT _partition_id, avg(is_gone) AS share FROM silver_listings GROUP BY _partition_id HAVING share > 0 ORDER BY _partition_id;

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
