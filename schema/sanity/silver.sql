-- Silver at a glance. Pipe into clickhouse-client --multiquery --database poe_trade, or run one by one: ledgerd sql "…".
-- Each query says above it what good looks like.

-- Coverage and age. Good: as many hours as bronze still has; idle_share about a quarter (markets that traded nothing).
SELECT
    realm, league, count() AS ticks, uniqExact(hour) AS hours, max(hour) AS newest,
    dateDiff('hour', max(hour), now('UTC')) AS newest_age_h,
    round(countIf(isNull(vwap)) / count(), 2) AS idle_share
FROM silver_exchange_ticks FINAL
GROUP BY realm, league
ORDER BY realm, ticks DESC;

-- Hours of bronze without ticks, by batch. Good: no rows (the newest batch may show for a second).
SELECT realm, hour, any(batch_id) AS batch_id, count() AS markets
FROM bronze_exchange_events
WHERE (realm, hour) NOT IN (SELECT realm, hour FROM silver_exchange_ticks)
GROUP BY realm, hour
ORDER BY realm, hour
LIMIT 50;

-- Normalised values of the exchange, the last 48 hours. Good: priced_share above 0.95; median_confidence steady from hour to hour.
SELECT
    realm, league, hour, count() AS currencies, round(countIf(chaos_value > 0) / count(), 3) AS priced_share,
    countIf(low_sample) AS low_samples, round(quantileExact(confidence), 2) AS median_confidence
FROM silver_currency_norm FINAL
WHERE source = 'exchange' AND hour > now('UTC') - INTERVAL 48 HOUR
GROUP BY realm, league, hour
ORDER BY realm, league, hour DESC
LIMIT 200;

-- Impossible values. Good: 0 in every column.
SELECT
    countIf(chaos_value <= 0 OR divine_value <= 0) AS not_positive,
    countIf(NOT isFinite(ifNull(chaos_value, 0)) OR NOT isFinite(ifNull(divine_value, 0))) AS not_finite,
    countIf(confidence < 0 OR confidence > 1) AS confidence_outside,
    countIf(empty(currency)) AS nameless
FROM silver_currency_norm FINAL;

-- Currencies the reference table does not name. Good: empty, or what a new league brought.
SELECT realm, currency, count() AS hours, max(hour) AS last_seen
FROM silver_currency_norm FINAL
WHERE (if(realm = 'poe2', 'poe2', 'poe1'), currency) NOT IN (SELECT game, metadata_id FROM reference_currencies)
GROUP BY realm, currency
ORDER BY hours DESC
LIMIT 50;

-- How far each step is; leagues that are equally far in a line. Good: behind 0, or what came in the last minutes where a
-- step runs now and then; failures 0 or long past; slowest_s below 10 (of a river: the last run).
SELECT
    source, step, if(count() > 2, concat(toString(count()), ' leagues'), arrayStringConcat(arraySort(groupArray(league)), ', ')) AS lanes,
    watermark, newest - watermark AS behind, any(failures) AS failures, any(last_failure) AS last_failure,
    any(last_error) AS last_error, greatest(any(slowest_s), round(max(seconds), 2)) AS slowest_s, done_until
FROM
(
    SELECT step, source, league, argMax(seq, (era, version, seq)) AS watermark, argMax(retrieved_at, (era, version, seq)) AS done_until,
        argMax(seconds, (era, version, seq)) AS seconds
    FROM etl_watermarks
    WHERE notEmpty(league) OR source LIKE 'exchange-%'
    GROUP BY step, source, league
) AS marks
INNER JOIN
(
    SELECT source, toInt64(max(seq)) AS newest FROM bronze_ingest_checkpoints GROUP BY source
) AS committed USING source
LEFT JOIN
(
    SELECT
        step, source, countIf(outcome != 'ok') AS failures, maxIf(finished_at, outcome != 'ok') AS last_failure,
        argMaxIf(error, finished_at, outcome != 'ok') AS last_error, round(max(seconds), 2) AS slowest_s
    FROM etl_runs
    GROUP BY step, source
) AS runs USING (step, source)
GROUP BY source, step, watermark, newest, done_until
ORDER BY source, step, watermark;

-- Currencies priced by the listings of their items, the newest hour. Good: few, and none that the exchange trades; no
-- confidence above 0.8.
SELECT
    realm, league, currency, chaos_value, sellers, round(spread, 2) AS spread, confidence,
    dateDiff('hour', hour, now('UTC')) AS age_h
FROM silver_currency_norm FINAL
WHERE source = 'listings'
    AND (realm, league, hour) IN
    (
        SELECT realm, league, max(hour) FROM silver_currency_norm WHERE source = 'listings' GROUP BY realm, league
    )
ORDER BY realm, league, confidence DESC, currency;
