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

-- name: ledger_moved
-- How far gold of {realm} is, layer by layer, of the leagues with prices of currencies since {since}, of items since
-- {items_since} (unix seconds): a league's newest hour, and as of when its prices, their liquidity, and what was earned
-- in the hour before are, in ms. Whatever is kept, all but that hour is read for its league and hour alone.
WITH
    (
        SELECT groupArray((league, newest))
        FROM
        (
            SELECT toString(league) AS league, max(hour) AS newest
            FROM gold_currency_snapshot
            WHERE realm = {realm:String} AND hour >= toDateTime({since:UInt32}, 'UTC')
            GROUP BY league
        )
    ) AS currencies,
    (
        SELECT groupArray((league, newest))
        FROM
        (
            SELECT toString(league) AS league, max(hour) AS newest
            FROM gold_item_prices
            WHERE realm = {realm:String} AND hour >= toDateTime({items_since:UInt32}, 'UTC')
            GROUP BY league
        )
    ) AS items
SELECT
    layer,
    league,
    toUnixTimestamp(maxIf(newest_hour, what = 'prices')) AS hour_s,
    toUnixTimestamp64Milli(maxIf(newest_as_of, what = 'prices')) AS prices_ms,
    toUnixTimestamp64Milli(maxIf(newest_as_of, what = 'liquidity')) AS liquidity_ms,
    toUnixTimestamp64Milli(maxIf(newest_as_of, what = 'roi')) AS roi_ms
FROM
(
    SELECT
        'currency' AS layer, 'prices' AS what, toString(league) AS league, max(hour) AS newest_hour,
        max(retrieved_at) AS newest_as_of
    FROM gold_currency_snapshot
    WHERE realm = {realm:String} AND (league, hour) IN (SELECT arrayJoin(currencies))
    GROUP BY league
    UNION ALL
    SELECT 'currency', 'liquidity', toString(league), max(hour), max(as_of)
    FROM gold_liquidity
    WHERE realm = {realm:String} AND (league, hour) IN (SELECT arrayJoin(currencies)) AND kind = 'currency'
    GROUP BY league
    UNION ALL
    SELECT 'items', 'prices', toString(league), max(hour), max(as_of)
    FROM gold_item_prices
    WHERE realm = {realm:String} AND (league, hour) IN (SELECT arrayJoin(items))
    GROUP BY league
    UNION ALL
    SELECT 'items', 'liquidity', toString(league), max(hour), max(as_of)
    FROM gold_liquidity
    WHERE realm = {realm:String} AND (league, hour) IN (SELECT arrayJoin(items)) AND kind = 'item'
    GROUP BY league
    UNION ALL
    SELECT 'items', 'roi', toString(league), max(hour), max(as_of)
    FROM gold_item_roi
    WHERE realm = {realm:String} AND kind = 'item'
        AND (league, hour) IN (SELECT arrayJoin(arrayMap(at -> (at.1, at.2 - INTERVAL 1 HOUR), items)))
    GROUP BY league
)
GROUP BY layer, league
ORDER BY layer, league;

-- name: ledger_newest
-- The newest row of each currency within 7 days of its league's newest hour, of {leagues} of {realm}, which have rows
-- since {since}, with its liquidity. Columns after the league are ledger/snapshot.py's Price without its names.
WITH newest AS
(
    SELECT league, max(hour) AS newest_hour
    FROM gold_currency_snapshot
    WHERE realm = {realm:String} AND league IN {leagues:Array(String)} AND hour >= toDateTime({since:UInt32}, 'UTC')
    GROUP BY league
)
SELECT
    price.*, liquidity.sell_through, liquidity.time_to_sell_s
FROM
(
    SELECT
        toString(g.league) AS league, toString(g.currency) AS currency, toUnixTimestamp(g.hour) AS hour_s,
        g.chaos_value, g.divine_value, g.open_24h, g.high_24h, g.low_24h,
        g.units, g.units_24h, g.value_traded_24h, g.change_1h, g.change_24h, g.change_7d, g.volatility_24h,
        g.spread, g.markets, g.confidence, g.low_sample, g.rests_on_hours, g.hours_24h, g.hours_7d, g.batch_id
    FROM gold_currency_snapshot AS g
    INNER JOIN newest AS n ON n.league = g.league
    WHERE g.realm = {realm:String}
        AND g.league IN {leagues:Array(String)}
        AND g.hour >= toDateTime(greatest(toInt64({since:UInt32}) - 604800, 0), 'UTC')
        AND g.hour > n.newest_hour - INTERVAL 7 DAY
    ORDER BY g.league, g.currency, g.hour DESC, g.retrieved_at DESC, g.batch_id DESC
    LIMIT 1 BY g.league, g.currency
) AS price
LEFT JOIN
(
    SELECT toString(league) AS league, thing, toUnixTimestamp(hour) AS hour_s, sell_through, time_to_sell_s
    FROM gold_liquidity
    WHERE realm = {realm:String}
        AND league IN {leagues:Array(String)}
        AND hour >= toDateTime(greatest(toInt64({since:UInt32}) - 604800, 0), 'UTC')
        AND kind = 'currency'
    ORDER BY league, hour, thing, as_of DESC, batch_id DESC
    LIMIT 1 BY league, hour, thing
) AS liquidity
ON liquidity.league = price.league AND liquidity.thing = price.currency AND liquidity.hour_s = price.hour_s
ORDER BY league, currency;

-- name: ledger_item_pages
-- The first key of each {items} items of {league} at {hour} (unix seconds), in the order of their keys.
SELECT arrayFilter((key, n) -> (n - 1) % {items:UInt32} = 0, keys, arrayEnumerate(keys)) AS firsts
FROM
(
    SELECT arraySort(groupUniqArray(item_key)) AS keys
    FROM gold_item_prices
    WHERE realm = {realm:String} AND league = {league:String} AND hour = toDateTime({hour:UInt32}, 'UTC')
);

-- name: ledger_items
-- The items of {league} at {hour} (unix seconds) with keys from {first} up to {end}: as JSON objects, one a line, in the
-- order of their keys, and column by column as JSON arrays, in the order of ledger/items.py's Columns. Prices of exactly 1 h, 24 h and 7 d
-- before, and earnings of the newest of the last three hours that has them. {delay_s}: how late upstream is.
WITH
    toDateTime({hour:UInt32}, 'UTC') AS this_hour,
    '%Y-%m-%dT%H:%i:%SZ' AS rfc3339,
    now AS
    (
        SELECT *
        FROM gold_item_prices FINAL
        WHERE realm = {realm:String} AND league = {league:String} AND hour = this_hour
            AND item_key >= {first:String} AND item_key < {end:String} AND isValidUTF8(item_key)
    ),
    before AS
    (
        SELECT
            item_key,
            maxIf(chaos_value, hour = this_hour - INTERVAL 1 HOUR) AS chaos_1h,
            maxIf(chaos_value, hour = this_hour - INTERVAL 24 HOUR) AS chaos_24h,
            maxIf(chaos_value, hour = this_hour - INTERVAL 168 HOUR) AS chaos_7d
        FROM gold_item_prices FINAL
        WHERE realm = {realm:String} AND league = {league:String}
            AND hour IN (this_hour - INTERVAL 1 HOUR, this_hour - INTERVAL 24 HOUR, this_hour - INTERVAL 168 HOUR)
            AND item_key >= {first:String} AND item_key < {end:String}
        GROUP BY item_key
    ),
    liquidity AS
    (
        SELECT thing, turnover_24h, sell_through, time_to_sell_s, spread
        FROM gold_liquidity FINAL
        WHERE realm = {realm:String} AND league = {league:String} AND hour = this_hour AND kind = 'item'
            AND thing >= {first:String} AND thing < {end:String}
    ),
    roi AS
    (
        SELECT thing, roi_24h
        FROM gold_item_roi FINAL
        WHERE realm = {realm:String} AND league = {league:String} AND kind = 'item'
            AND thing >= {first:String} AND thing < {end:String}
            AND hour =
            (
                SELECT max(hour)
                FROM gold_item_roi
                WHERE realm = {realm:String} AND league = {league:String} AND kind = 'item'
                    AND hour <= this_hour AND hour > this_hour - INTERVAL 3 HOUR
            )
    ),
    items AS
    (
        SELECT
            now.item_key AS key,
            toString(now.category) AS category,
            now.name AS name,
            CAST(
                arrayMap(
                    word -> (substring(word, 1, position(word, '=') - 1), substring(word, position(word, '=') + 1)),
                    arraySlice(splitByChar('|', now.item_key), 3)
                ),
                'Map(String, String)'
            ) AS parts,
            now.chaos_value AS chaos,
            now.divine_value AS divine,
            now.low AS low,
            now.high AS high,
            now.confidence AS confidence,
            now.low_sample AS low_sample,
            round(now.chaos_value / before.chaos_1h - 1, 6) AS change_1h,
            round(now.chaos_value / before.chaos_24h - 1, 6) AS change_24h,
            round(now.chaos_value / before.chaos_7d - 1, 6) AS change_7d,
            arrayMap(value -> nullIf(value, 0), now.sparkline) AS sparkline,
            now.likely_sales_1h AS likely_sales_1h,
            now.likely_sales_24h AS likely_sales_24h,
            now.likely_sales_7d AS likely_sales_7d,
            now.sale_value AS sale_value,
            now.time_on_market_s AS time_on_market_s,
            tuple(
                liquidity.turnover_24h AS turnover_24h,
                liquidity.sell_through AS sell_through,
                liquidity.time_to_sell_s AS time_to_sell_s,
                liquidity.spread AS spread
            ) AS liquidity,
            roi.roi_24h AS roi_24h,
            tuple(
                now.listings AS listings,
                now.units AS units,
                now.sellers AS sellers,
                now.rests_on_sellers AS rests_on_sellers,
                formatDateTime(now.last_seen, rfc3339, 'UTC') AS last_seen,
                formatDateTime(now.judged_until, rfc3339, 'UTC') AS judged_until,
                if(toUInt32(now.rate_hour) = 0, NULL, formatDateTime(now.rate_hour, rfc3339, 'UTC')) AS rate_hour,
                toString(now.batch_id) AS batch_id
            ) AS evidence,
            toUInt32(toDateTime(now.as_of, 'UTC')) - {delay_s:UInt32} AS as_of_s,
            formatDateTime(toDateTime(as_of_s, 'UTC'), rfc3339, 'UTC') AS as_of
        FROM now
        LEFT JOIN before ON before.item_key = now.item_key
        LEFT JOIN liquidity ON liquidity.thing = now.item_key
        LEFT JOIN roi ON roi.thing = now.item_key
        ORDER BY key
    )
SELECT
    arrayStringConcat(groupArray(formatRowNoNewline(
        'JSONEachRow', key, category, name, parts, chaos, divine, low, high, confidence, low_sample, change_1h, change_24h,
        change_7d, sparkline, likely_sales_1h, likely_sales_24h, likely_sales_7d, sale_value, time_on_market_s,
        liquidity, roi_24h, evidence, as_of
    )), '\n') AS rows,
    toJSONString(groupArray(key)), toJSONString(groupArray(name)), toJSONString(groupArray(category)),
    toJSONString(groupArray(ifNull(chaos, nan))), toJSONString(groupArray(confidence)),
    toJSONString(groupArray(evidence.listings)), toJSONString(groupArray(ifNull(liquidity.turnover_24h, nan))),
    toJSONString(groupArray(ifNull(change_1h, nan))), toJSONString(groupArray(ifNull(change_24h, nan))),
    toJSONString(groupArray(ifNull(change_7d, nan))), toJSONString(groupArray(likely_sales_24h)),
    toJSONString(groupArray(as_of_s))
FROM items;

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
SELECT splitByChar('-', toString(source))[2] AS realm, toUnixTimestamp64Milli(max(written_at)) AS at_ms
FROM etl_watermarks
WHERE startsWith(step, 'gold_')
GROUP BY realm
ORDER BY realm;
