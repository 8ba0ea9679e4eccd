-- step: gold_currency_snapshot
-- version: 2
-- reads: silver_currency_price
-- writes: gold_currency_snapshot
-- watermark: exchange
-- columns: realm, league, hour, currency, chaos_value, divine_value, open_24h, high_24h, low_24h, units, units_24h, value_traded_24h, change_1h, change_24h, change_7d, volatility_24h, spread, markets, confidence, low_sample, rests_on_hours, hours_24h, hours_7d, batch_id, retrieved_at
--
-- One row per league, currency and hour of a batch that silver_currency_price has, priced or not.
-- chaos_value, divine_value, confidence, rests_on_hours: the price of that hour, as silver_currency_price has it.
-- Extremes, changes and volatility are those of the prices, not of the hours' own values, so that they fit the price
-- beside them and the history: a thin hour's noise is no move. What the hour alone says is in silver_currency_norm.
-- A window of 24 h (7 d) is the hour itself and the 23 (167) before it. hours_24h, hours_7d: how many of them priced it.
-- open_24h: the first priced hour's value in the window; high_24h, low_24h: its extremes; all three in chaos.
-- units_24h, value_traded_24h (chaos): sums over the window.
-- change_*: share by which the chaos value moved (0.05 is +5 %) since the hour at that distance; where that one has no
-- price, since the nearest earlier priced hour, at most 1 h (1 h), 3 h (24 h) or 12 h (7 d) further back; else NULL.
-- volatility_24h: sample standard deviation of the log returns between neighbouring hours of the last 24 h; a pair with
-- a missing hour between gives no return; NULL below 6 returns.
-- Each earlier hour is counted into every hour of the batch it can matter to, so a batch of many hours costs per hour
-- what a batch of one costs. Floats are only ever summed in sorted order; hours are unique per currency, so any() over
-- "own" sees one row.
WITH
    toUInt32({hour_from:DateTime('UTC')}) AS batch_from_s,
    toUInt32({hour_to:DateTime('UTC')}) - 3600 AS batch_last_s,
    3600 AS hour_s,
    24 * 3600 AS day_s,
    7 * 24 * 3600 AS week_s,
    (7 * 24 + 12) * 3600 AS reach_s,
    age_s = 0 AS own,
    value > 0 AND age_s < day_s AS priced_24h,
    arraySort(groupArrayIf((hour_at_s, log(value)), value > 0 AND age_s <= day_s)) AS path,
    arrayMap(
        pair -> pair.2.2 - pair.1.2,
        arrayFilter(
            pair -> pair.2.1 - pair.1.1 = hour_s,
            arrayZip(arrayPopBack(path), arrayPopFront(path))
        )
    ) AS log_returns,
    anyIf(value, own) AS value_now,
    argMaxIf(value, hour_at_s, value > 0 AND age_s >= hour_s AND age_s <= hour_s + 3600) AS value_1h,
    argMaxIf(value, hour_at_s, value > 0 AND age_s >= day_s AND age_s <= day_s + 3 * 3600) AS value_24h,
    argMaxIf(value, hour_at_s, value > 0 AND age_s >= week_s AND age_s <= reach_s) AS value_7d
SELECT
    {realm:String} AS realm,
    league,
    toDateTime(target_s, 'UTC') AS hour,
    currency,
    anyIf(chaos, own) AS chaos_value,
    anyIf(divine, own) AS divine_value,
    nullIf(argMinIf(value, hour_at_s, priced_24h), 0) AS open_24h,
    nullIf(maxIf(value, priced_24h), 0) AS high_24h,
    nullIf(minIf(value, priced_24h), 0) AS low_24h,
    sumIf(hour_units, own) AS units,
    sumIf(hour_units, age_s < day_s) AS units_24h,
    arraySum(arraySort(groupArrayIf(hour_traded, age_s < day_s))) AS value_traded_24h,
    if(value_now > 0 AND value_1h > 0, value_now / value_1h - 1, NULL) AS change_1h,
    if(value_now > 0 AND value_24h > 0, value_now / value_24h - 1, NULL) AS change_24h,
    if(value_now > 0 AND value_7d > 0, value_now / value_7d - 1, NULL) AS change_7d,
    if(length(log_returns) < 6, NULL, arrayReduce('stddevSampStable', log_returns)) AS volatility_24h,
    anyIf(hour_spread, own) AS spread,
    anyIf(hour_markets, own) AS markets,
    anyIf(hour_confidence, own) AS confidence,
    anyIf(is_low_sample, own) AS low_sample,
    anyIf(hour_rests_on, own) AS rests_on_hours,
    countIf(priced_24h) AS hours_24h,
    countIf(value > 0 AND age_s < week_s) AS hours_7d,
    anyIf(hour_batch_id, own) AS batch_id,
    anyIf(hour_retrieved_at, own) AS retrieved_at
FROM
(
    SELECT
        league, currency, chaos_value AS chaos, divine_value AS divine, ifNull(chaos_value, 0) AS value,
        units AS hour_units, ifNull(value_traded, 0) AS hour_traded, spread AS hour_spread, markets AS hour_markets,
        confidence AS hour_confidence, low_sample AS is_low_sample, rests_on_hours AS hour_rests_on,
        batch_id AS hour_batch_id, retrieved_at AS hour_retrieved_at,
        toUInt32(hour) AS hour_at_s,
        arrayJoin(range(
            greatest(hour_at_s, batch_from_s), least(hour_at_s + reach_s, batch_last_s) + 1, toUInt32(hour_s)
        )) AS target_s,
        target_s - hour_at_s AS age_s
    FROM silver_currency_price FINAL
    WHERE realm = {realm:String}
        AND hour >= {hour_from:DateTime('UTC')} - INTERVAL 180 HOUR
        AND hour < {hour_to:DateTime('UTC')}
)
GROUP BY league, currency, target_s
HAVING countIf(own) > 0
ORDER BY hour, league, currency
