-- Queries the program asks by name, one block each.

-- name: is_committed
-- Whether a batch has its commit row, and whose row has its number: any batch's where {batch} is empty.
SELECT countIf({batch:String} = '' OR batch_id = {batch:String}) AS own, max(batch_id) AS newest
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND seq = {seq:UInt64};

-- name: last_checkpoint
-- Where a source stood at its last commit: the fallback when the spool is lost.
SELECT seq, next_cursor
FROM bronze_ingest_checkpoints
WHERE source = {source:String}
ORDER BY seq DESC
LIMIT 1;

-- name: exchange_rows_of_batch
-- Rows of an exchange batch in bronze, by league, and, market by market, in quarantine, by page. {first} and {end} are
-- the hours of the batch in unix seconds, newest_hour is one, too.
SELECT
    page_seq, toString(league) AS named, count() AS stored, 0 AS quarantined, toUnixTimestamp(max(hour)) AS newest_hour
FROM bronze_exchange_events
WHERE realm = {realm:String} AND batch_id = {batch:String}
    AND hour >= toDateTime({first:UInt32}, 'UTC') AND hour < toDateTime({end:UInt32}, 'UTC')
GROUP BY page_seq, named
UNION ALL
SELECT page_seq, '', 0, count(), 0
FROM bronze_quarantine
WHERE source = {source:String} AND batch_id = {batch:String} AND NOT startsWith(reason, {mismatch:String})
GROUP BY page_seq;

-- name: exchange_newest_hours
-- The newest hour of each league of {realm} stored since {since}, both unix seconds, the newest leagues first.
SELECT toString(league) AS named, toUnixTimestamp(max(hour)) AS newest_hour
FROM bronze_exchange_events
WHERE realm = {realm:String} AND hour >= toDateTime({since:UInt32}, 'UTC')
GROUP BY named
ORDER BY newest_hour DESC, named
LIMIT {limit:UInt32};

-- name: ledger_newest
-- The newest row of each currency within 7 days of its league's newest hour, of the leagues of {realm} with rows since
-- {since}. Columns after the league are ledger/snapshot.py's Price without its names.
WITH newest AS
(
    SELECT league, max(hour) AS newest_hour
    FROM gold_currency_snapshot
    WHERE realm = {realm:String} AND hour >= toDateTime({since:UInt32}, 'UTC')
    GROUP BY league
)
SELECT
    g.league, g.currency, toUnixTimestamp(g.hour) AS hour_s,
    g.chaos_value, g.divine_value, g.open_24h, g.high_24h, g.low_24h,
    g.units, g.units_24h, g.value_traded_24h, g.change_1h, g.change_24h, g.change_7d, g.volatility_24h,
    g.spread, g.markets, g.confidence, g.low_sample, g.rests_on_hours, g.hours_24h, g.hours_7d, g.batch_id
FROM gold_currency_snapshot AS g
INNER JOIN newest AS n ON n.league = g.league
WHERE g.realm = {realm:String}
    AND g.hour >= toDateTime(greatest(toInt64({since:UInt32}) - 604800, 0), 'UTC')
    AND g.hour > n.newest_hour - INTERVAL 7 DAY
ORDER BY g.league, g.currency, g.hour DESC, g.retrieved_at DESC, g.batch_id DESC
LIMIT 1 BY g.league, g.currency;

-- name: ledger_history
-- One currency's prices in a league from {from_s} up to {to_s} (unix seconds), by spans of {step_s} seconds; the last
-- hour of a span closes it.
SELECT
    intDiv(hour_s, {step_s:UInt32}) * {step_s:UInt32} AS begin_s,
    max(hour_s) + 3600 AS as_of_s,
    argMax(tuple(chaos_value), hour_s).1 AS chaos,
    argMax(tuple(divine_value), hour_s).1 AS divine,
    argMin(tuple(chaos_value), hour_s).1 AS open,
    max(chaos_value) AS high,
    min(chaos_value) AS low,
    sum(hour_units) AS units,
    argMax(hour_confidence, hour_s) AS confidence,
    argMax(is_low_sample, hour_s) AS low_sample,
    count() AS hours
FROM
(
    SELECT
        toUnixTimestamp(hour) AS hour_s, chaos_value, divine_value,
        units AS hour_units, confidence AS hour_confidence, low_sample AS is_low_sample
    FROM gold_currency_snapshot
    WHERE realm = {realm:String} AND league = {league:String} AND currency = {currency:String}
        AND hour >= toDateTime({from_s:UInt32}, 'UTC') AND hour < toDateTime({to_s:UInt32}, 'UTC')
    ORDER BY hour, retrieved_at DESC, batch_id DESC
    LIMIT 1 BY hour
)
GROUP BY begin_s
ORDER BY begin_s
LIMIT 2001;

-- name: river_rows_of_batch
-- What each page of a river batch became, by lane: changes stored, changes of leagues nobody asked for.
SELECT page_seq, league, sum(stashes * stored) AS stored_rows, sum(stashes * NOT stored) AS skipped_rows
FROM bronze_river_counts
WHERE realm = {realm:String} AND batch_id = {batch:String}
GROUP BY page_seq, league
ORDER BY page_seq, league;

-- name: claim
-- Claim {sources} for {holder} on {host}, or say that it still has them: a claim seen within {alive_s} keeps its time.
-- {held}: those it has as far as it knows.
INSERT INTO harvest_claims (source, holder, host, holds, since, seen_at, written_at)
WITH now64(3, 'UTC') AS at, had.seen_at > at - {alive_s:UInt32} AS is_alive
SELECT
    wanted.source, {holder:String}, {host:String}, has({held:Array(String)}, wanted.source) OR (is_alive AND had.holds),
    if(is_alive, had.since, at), at, at
FROM (SELECT arrayJoin({sources:Array(String)}) AS source) AS wanted
LEFT JOIN
(
    SELECT
        source, argMax(holds, written_at) AS holds, argMax(since, written_at) AS since,
        argMax(seen_at, written_at) AS seen_at
    FROM harvest_claims
    WHERE holder = {holder:String}
    GROUP BY source
) AS had ON had.source = wanted.source;

-- name: unclaim
-- Say that {holder} has left {sources}.
INSERT INTO harvest_claims (source, holder, host, holds, since, seen_at, written_at)
SELECT arrayJoin({sources:Array(String)}), {holder:String}, {host:String}, false, toDateTime64(0, 3, 'UTC'),
    toDateTime64(0, 3, 'UTC'), now64(3, 'UTC');

-- name: claimants
-- Of each source, who has it among those seen within {alive_s}, the holder or else the first: holder and host.
SELECT
    source, argMin(holder, (NOT holds, since, holder)) AS first_holder,
    argMin(host, (NOT holds, since, holder)) AS first_host
FROM
(
    SELECT
        source, holder, argMax(host, written_at) AS host, argMax(holds, written_at) AS holds,
        argMax(since, written_at) AS since, argMax(seen_at, written_at) AS seen_at
    FROM harvest_claims
    WHERE source IN {sources:Array(String)}
    GROUP BY source, holder
)
WHERE seen_at > now64(3, 'UTC') - {alive_s:UInt32}
GROUP BY source
ORDER BY source;

-- name: gold_moved
-- When gold of each realm was last made, in milliseconds.
SELECT realm, toUnixTimestamp64Milli(max(finished_at)) AS at_ms
FROM
(
    SELECT splitByChar('-', toString(source))[2] AS realm, finished_at
    FROM etl_runs
    WHERE startsWith(step, 'gold_') AND outcome = 'ok'
)
GROUP BY realm
ORDER BY realm;
