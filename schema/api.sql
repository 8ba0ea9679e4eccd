-- What the Ledger API asks the engine for, one block each. A row of gold may stand twice until parts are merged: the
-- newest `as_of` counts. Times are unix seconds unless a name says otherwise. Texts of sellers' may hold any bytes, and
-- answers may not.

-- name: is_item_key
-- A row if an item of {key} was ever listed, in whatever realm and league.
SELECT item_key FROM silver_item_keys WHERE key = sipHash64({key:String}) AND item_key = {key:String} LIMIT 1;

-- name: item_history
-- One item's prices in a league from {from_s} up to {to_s}, by spans of {step_s} seconds; the last hour of a span closes
-- it. {delay_s}: by how much upstream is late.
SELECT
    intDiv(hour_s, {step_s:UInt32}) * {step_s:UInt32} AS begin_s,
    max(newest_s) - {delay_s:UInt32} AS as_of_s,
    argMax(tuple(chaos_value), hour_s).1 AS chaos,
    argMax(tuple(divine_value), hour_s).1 AS divine,
    argMin(tuple(chaos_value), hour_s).1 AS open,
    min(lowest) AS low,
    max(highest) AS high,
    argMax(hour_listings, hour_s) AS listings,
    argMax(hour_units, hour_s) AS units,
    argMax(hour_sellers, hour_s) AS sellers,
    argMax(believed, hour_s) AS rests_on_sellers,
    argMax(hour_confidence, hour_s) AS confidence,
    argMax(is_low_sample, hour_s) AS low_sample,
    sum(sales) AS likely_sales,
    count() AS hours,
    argMax(hour_batch, hour_s) AS batch_id
FROM
(
    SELECT
        toUnixTimestamp(hour) AS hour_s, toFloat64(as_of) AS newest_s, chaos_value, divine_value, low AS lowest,
        high AS highest, listings AS hour_listings, units AS hour_units, sellers AS hour_sellers,
        rests_on_sellers AS believed, confidence AS hour_confidence, low_sample AS is_low_sample,
        likely_sales_1h AS sales, batch_id AS hour_batch
    FROM gold_item_prices
    WHERE realm = {realm:String} AND league = {league:String} AND item_key = {key:String}
        AND hour >= toDateTime({from_s:UInt32}, 'UTC') AND hour < toDateTime({to_s:UInt32}, 'UTC')
    ORDER BY hour, as_of DESC
    LIMIT 1 BY hour
)
GROUP BY begin_s
ORDER BY begin_s
LIMIT 2001;

-- name: item_listings
-- The listings of {key} that stand in a league, in stashes that changed after {since_s}, the cheapest first by {rates}
-- of the currencies {ids}, which are of {hours_s}; and how many there are. The stashes are found by their keys alone,
-- then read one by one.
SELECT
    toValidUTF8(account), toValidUTF8(stash_id) AS stash, pieces, one, toString(of),
    nullIf(one * {rates:Array(Float64)}[indexOf({ids:Array(String)}, of) AS known], 0) AS chaos,
    nullIf({hours_s:Array(UInt32)}[known], 0),
    toUnixTimestamp(begun), toUnixTimestamp(priced), times, toFloat64(last_seen), toString(batch_id), count() OVER ()
FROM silver_canonical_stashes FINAL
ARRAY JOIN
    item AS place, key AS of_key, stack AS pieces, amount AS one, currency AS of, listed_at AS begun,
    changed_at AS priced, repriced AS times
WHERE realm = {realm:String} AND league = {league:String} AND of_key = sipHash64({key:String}) AND one > 0
    AND last_seen > toDateTime({since_s:UInt32}, 'UTC')
    AND stash_id IN
    (
        SELECT stash_id
        FROM silver_canonical_stashes
        WHERE realm = {realm:String} AND league = {league:String} AND has(key, sipHash64({key:String}))
    )
ORDER BY chaos NULLS LAST, account, stash, place
LIMIT {most:UInt32};

-- name: stashes_until
-- By step of a league's stashes, when the newest batch it has looked at was fetched; 0: none since it last began again.
SELECT step, toUnixTimestamp(argMax(retrieved_at, (era, retrieved_at)))
FROM etl_watermarks
WHERE step IN ('silver_canonical_stashes', 'gold_stash_summary', 'gold_stash_diffs') AND source = concat('river-', {realm:String})
    AND league IN ('', {league:String})
GROUP BY step;

-- name: stash
-- The newest row of one stash.
SELECT
    stash_id, toValidUTF8(account), toValidUTF8(stash_name), toValidUTF8(stash_type), public, items, listed,
    unconverted, unpriced, unpriced_share, asked_chaos, market_chaos, toFloat64(changed_at),
    toUnixTimestamp(rate_hour), batch_id, toFloat64(as_of)
FROM gold_stash_summary
WHERE realm = {realm:String} AND league = {league:String} AND stash_id = {stash:String}
ORDER BY gold_stash_summary.as_of DESC
LIMIT 1;

-- name: seller
-- The newest row of each stash {account} ever had, for as long as it is still his; the public ones first, the richest first.
SELECT *
FROM
(
    SELECT
        toValidUTF8(stash_id) AS id, account, toValidUTF8(stash_name), toValidUTF8(stash_type), public, items, listed,
        unconverted, unpriced, unpriced_share, asked_chaos, market_chaos, toFloat64(changed_at),
        toUnixTimestamp(rate_hour), batch_id, toFloat64(as_of)
    FROM gold_stash_summary
    WHERE realm = {realm:String} AND league = {league:String} AND stash_id IN
    (
        SELECT stash_id
        FROM gold_stash_summary
        WHERE realm = {realm:String} AND league = {league:String} AND account = {account:String}
    )
    ORDER BY stash_id, gold_stash_summary.as_of DESC
    LIMIT 1 BY stash_id
)
WHERE account = {account:String}
ORDER BY public DESC, market_chaos DESC, id
LIMIT {most:UInt32};

-- name: sellers
-- Who lists most in a league, by what that is worth.
SELECT
    toValidUTF8(account), stashes, items, listed, unconverted, unpriced, unpriced_share, asked_chaos, market_chaos
FROM gold_seller_summary
WHERE realm = {realm:String} AND league = {league:String}
ORDER BY market_chaos DESC, account
LIMIT {most:UInt32};

-- name: stash_diffs
-- What happened in one stash from {from_s} up to {to_s}, newest first, behind the row of {after_s} and {after}.
SELECT
    toUnixTimestamp(hour), stash_id, toValidUTF8(account), added, removed, repriced, restacked, unconverted,
    added_chaos, removed_chaos, repriced_chaos, restacked_chaos, first_batch, last_batch
FROM gold_stash_diffs
WHERE realm = {realm:String} AND league = {league:String} AND stash_id = {stash:String}
    AND hour >= toDateTime({from_s:UInt32}, 'UTC') AND hour < toDateTime({to_s:UInt32}, 'UTC')
    AND (toUnixTimestamp(hour) < {after_s:UInt32} OR toUnixTimestamp(hour) = {after_s:UInt32} AND stash_id > {after:String})
ORDER BY hour DESC, stash_id, as_of DESC
LIMIT 1 BY hour, stash_id
LIMIT {most:UInt32};

-- name: seller_diffs
-- The same of all stashes of {account}.
SELECT
    toUnixTimestamp(hour), stash_id, toValidUTF8(account), added, removed, repriced, restacked, unconverted,
    added_chaos, removed_chaos, repriced_chaos, restacked_chaos, first_batch, last_batch
FROM gold_stash_diffs
WHERE realm = {realm:String} AND league = {league:String} AND account = {account:String} AND isValidUTF8(stash_id)
    AND hour >= toDateTime({from_s:UInt32}, 'UTC') AND hour < toDateTime({to_s:UInt32}, 'UTC')
    AND (toUnixTimestamp(hour) < {after_s:UInt32} OR toUnixTimestamp(hour) = {after_s:UInt32} AND stash_id > {after:String})
ORDER BY hour DESC, stash_id, as_of DESC
LIMIT 1 BY hour, stash_id
LIMIT {most:UInt32};

-- name: gap_counts
-- How many spans were found missing, by source.
SELECT source, count() FROM bronze_gaps GROUP BY source;

-- name: gaps
-- The spans of a source that were found missing, newest first, behind the row found at {after_ms} at cursor {after}.
SELECT
    toUnixTimestamp(gap_from), toUnixTimestamp(gap_to), cursor_from, cursor_to, reason, batch_id,
    toUnixTimestamp64Milli(retrieved_at) AS found_ms
FROM bronze_gaps
WHERE source = {source:String} AND (found_ms < {after_ms:Int64} OR found_ms = {after_ms:Int64} AND cursor_from > {after:String})
ORDER BY found_ms DESC, cursor_from
LIMIT {most:UInt32};

-- name: exchange_progress
-- Of exchanges, the hour they began with and the end of the last one committed; of what was committed since {since}, the
-- first and the last: the ends of their hours, and when that was.
SELECT
    source,
    argMin(toUInt32OrZero(cursor), seq) AS from_s,
    argMax(toUInt32OrZero(next_cursor), seq) AS at_s,
    argMinIf(toUInt32OrZero(next_cursor), seq, committed_at >= {since:DateTime64(3, 'UTC')}) AS recent_from_s,
    argMaxIf(toUInt32OrZero(next_cursor), seq, committed_at >= {since:DateTime64(3, 'UTC')}) AS recent_to_s,
    toFloat64(maxIf(committed_at, committed_at >= {since:DateTime64(3, 'UTC')}))
        - toFloat64(minIf(committed_at, committed_at >= {since:DateTime64(3, 'UTC')})) AS recent_took_s
FROM bronze_ingest_checkpoints
WHERE source IN {sources:Array(String)}
GROUP BY source;

-- name: batch_ends
-- The end of the last hour of batches of an exchange, by number.
SELECT seq, max(toUInt32OrZero(next_cursor))
FROM bronze_ingest_checkpoints
WHERE source = {source:String} AND seq IN {seqs:Array(UInt64)}
GROUP BY seq;

-- name: etl_runs
-- The last runs of steps that were logged, newest first; an empty {step} or {source} is any.
SELECT
    step, source, leagues, seq, batch_id, toFloat64(started_at), seconds, rows, outcome, error
FROM etl_runs
WHERE ({step:String} = '' OR step = {step:String}) AND ({source:String} = '' OR source = {source:String})
ORDER BY started_at DESC, step, source, seq DESC
LIMIT {most:UInt32};

-- name: liquidity
-- What turned over most in a league, of {kinds}: each thing's newest row within a day of its kind's newest hour, and the
-- moment it stands for. {delay_s}: by how much upstream is late with items.
WITH newest AS
(
    SELECT kind AS of_kind, max(hour) AS until
    FROM gold_liquidity
    WHERE realm = {realm:String} AND league = {league:String} AND kind IN {kinds:Array(String)}
    GROUP BY of_kind
)
SELECT
    of, thing, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s, confidence, batch_id, as_of_s
FROM
(
    SELECT
        toString(kind) AS of, thing, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s,
        confidence, batch_id,
        toInt64(if(kind = 'item', toUnixTimestamp(as_of) - {delay_s:Int64}, toUnixTimestamp(hour) + 3600)) AS as_of_s
    FROM gold_liquidity
    INNER JOIN newest ON of_kind = kind
    WHERE realm = {realm:String} AND league = {league:String} AND kind IN {kinds:Array(String)}
        AND hour >= (SELECT min(until) FROM newest) - INTERVAL 1 DAY AND hour > until - INTERVAL 1 DAY
        AND isValidUTF8(thing)
    ORDER BY kind, thing, hour DESC, as_of DESC
    LIMIT 1 BY kind, thing
)
ORDER BY turnover_24h DESC NULLS LAST, of, thing
LIMIT {limit:UInt32};
