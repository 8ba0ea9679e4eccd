-- Gold at a glance. Pipe into clickhouse-client --multiquery --database poe_trade, or run one by one: ledgerd sql "…".
-- Each query says above it what good looks like.

-- Coverage and age. Good: newest_age_h below 3 while harvesting; divine_in_chaos what the game says.
SELECT
    realm, league, uniqExact(currency) AS currencies, uniqExact(hour) AS hours, max(hour) AS newest,
    dateDiff('hour', max(hour), now('UTC')) AS newest_age_h,
    round(argMaxIf(chaos_value, hour, currency = 'Metadata/Items/Currency/CurrencyModValues'), 2) AS divine_in_chaos
FROM gold_currency_snapshot FINAL
GROUP BY realm, league
ORDER BY realm, currencies DESC;

-- Rows of silver from the exchange without a row of gold. Good: 0 for every realm (the newest hour may show for a second).
SELECT realm, count() AS missing, min(hour) AS first_missing, max(hour) AS last_missing
FROM silver_currency_norm
WHERE source = 'exchange'
    AND (realm, league, currency, hour) NOT IN (SELECT realm, league, currency, hour FROM gold_currency_snapshot)
GROUP BY realm
ORDER BY realm;

-- Impossible values. Good: 0 in every column.
SELECT
    countIf(low_24h > high_24h OR chaos_value > high_24h OR chaos_value < low_24h) AS outside_its_range,
    countIf(units > units_24h) AS more_than_its_day,
    countIf(hours_24h > 24 OR hours_7d > 168 OR hours_24h > hours_7d OR rests_on_hours > 12) AS windows_wrong,
    countIf(change_24h <= -1 OR volatility_24h < 0) AS moves_wrong
FROM gold_currency_snapshot FINAL;

-- The newest hour of each league by confidence. Good: most of value_traded_24h in the upper bands.
SELECT
    realm, league, floor(confidence, 1) AS confidence_from, count() AS currencies,
    round(sum(value_traded_24h)) AS value_traded_24h, round(quantileExact(hours_24h)) AS median_hours_24h
FROM gold_currency_snapshot FINAL
WHERE (realm, league, hour) IN (SELECT realm, league, max(hour) FROM gold_currency_snapshot GROUP BY realm, league)
GROUP BY realm, league, confidence_from
ORDER BY realm, league, confidence_from DESC;

-- The largest moves of the newest hour among what is surely priced. Good: names you have an explanation for.
SELECT
    realm, league, currency, chaos_value, round(change_24h * 100, 1) AS change_24h_percent, confidence, hours_24h
FROM gold_currency_snapshot FINAL
WHERE confidence >= 0.8 AND isNotNull(change_24h)
    AND (realm, league, hour) IN (SELECT realm, league, max(hour) FROM gold_currency_snapshot GROUP BY realm, league)
ORDER BY abs(change_24h) DESC, realm, league, currency
LIMIT 30;

-- Coverage and age of what rests on the prices of items. Good: newest_age_h 0 or 1 while harvesting; below 3 for kind
-- currency, which waits for the exchange.
SELECT what, realm, league, things, hours, newest, dateDiff('hour', newest, now('UTC')) AS newest_age_h
FROM
(
    SELECT concat('liquidity, ', kind) AS what, realm, league, uniqExact(thing) AS things, uniqExact(hour) AS hours, max(hour) AS newest
    FROM gold_liquidity
    GROUP BY what, realm, league
    UNION ALL
    SELECT concat('roi, ', kind) AS what, realm, league, uniqExact(thing), uniqExact(hour), max(hour)
    FROM gold_item_roi
    GROUP BY what, realm, league
    UNION ALL
    SELECT 'stash summary', realm, league, uniqExact(stash_id), uniqExact(hour), max(hour)
    FROM gold_stash_summary
    GROUP BY realm, league
    UNION ALL
    SELECT 'stash diffs', realm, league, uniqExact(stash_id), uniqExact(hour), max(hour)
    FROM gold_stash_diffs
    GROUP BY realm, league
)
ORDER BY what, realm, league;

-- Impossible values of these tables. Good: 0 in every column.
SELECT
    (
        SELECT countIf(sell_through < 0 OR sell_through > 1 OR spread < 0 OR turnover_24h < 0 OR time_to_sell_s < 0)
        FROM gold_liquidity FINAL
    ) AS liquidity_wrong,
    (
        SELECT countIf(listed > items OR unpriced > items OR unconverted > listed OR asked_chaos < 0 OR market_chaos < 0)
        FROM gold_stash_summary FINAL
    ) AS summaries_wrong,
    (
        SELECT countIf(added + removed + repriced + restacked = 0 OR added_chaos < 0 OR removed_chaos < 0)
        FROM gold_stash_diffs FINAL
    ) AS diffs_wrong,
    (
        SELECT countIf(chaos_value <= 0 OR confidence < 0.5 OR least(roi_1h, roi_24h, roi_7d) <= -1)
        FROM gold_item_roi FINAL
    ) AS roi_wrong;

-- Events against the diffs made of them, the last two days, the hour under way aside. Good: no rows.
SELECT e.realm AS realm, e.league AS league, e.hour AS hour, e.events AS events, d.counted AS counted
FROM
(
    SELECT realm, league, toStartOfHour(at, 'UTC') AS hour, count() AS events
    FROM silver_listing_events FINAL
    WHERE at >= toStartOfHour(now('UTC') - INTERVAL 2 DAY, 'UTC')
    GROUP BY realm, league, hour
) AS e
LEFT JOIN
(
    SELECT realm, league, hour, sum(added + removed + repriced + restacked) AS counted
    FROM gold_stash_diffs FINAL
    WHERE hour >= toStartOfHour(now('UTC') - INTERVAL 2 DAY, 'UTC')
    GROUP BY realm, league, hour
) AS d ON d.realm = e.realm AND d.league = e.league AND d.hour = e.hour
WHERE e.hour < toStartOfHour(now('UTC'), 'UTC') AND e.events != d.counted
ORDER BY realm, league, hour;
