-- step: gold_currency_roi
-- version: 1
-- reads: gold_currency_snapshot
-- writes: gold_item_roi
-- watermark: exchange
-- columns: realm, league, hour, kind, thing, chaos_value, low_1h, low_24h, low_7d, roi_1h, roi_24h, roi_7d, confidence, rate_hour, batch_id, as_of
--
-- As gold_item_roi, of currencies on the exchange, for the hours of a batch: bought at the low of the hour 1 h (24 h,
-- 7 d) before, sold at this hour's price. The low of an hour: its price at the lower end of the spread its markets
-- traded in, taken as even about the price: chaos_value / sqrt(1 + spread). roi = chaos_value / low - 1.
-- One row per currency and hour with a confidence of 0.5 or more; low and roi are NULL where the hour at exactly that
-- distance has no price or less confidence.
WITH
    {hour_from:DateTime('UTC')} AS first_hour,
    {hour_to:DateTime('UTC')} AS end_hour
SELECT
    {realm:String} AS realm,
    league,
    target AS hour,
    'currency' AS kind,
    currency AS thing,
    maxIf(value, age_h = 0) AS chaos_value,
    nullIf(maxIf(cheapest, age_h = 1), 0) AS low_1h,
    nullIf(maxIf(cheapest, age_h = 24), 0) AS low_24h,
    nullIf(maxIf(cheapest, age_h = 168), 0) AS low_7d,
    chaos_value / low_1h - 1 AS roi_1h,
    chaos_value / low_24h - 1 AS roi_24h,
    chaos_value / low_7d - 1 AS roi_7d,
    maxIf(sureness, age_h = 0) AS confidence,
    target AS rate_hour,
    maxIf(batch, age_h = 0) AS batch_id,
    maxIf(fetched_at, age_h = 0) AS as_of
FROM
(
    SELECT
        league, currency, assumeNotNull(chaos_value) AS value, value / sqrt(1 + spread) AS cheapest,
        confidence AS sureness, toString(batch_id) AS batch, retrieved_at AS fetched_at,
        arrayJoin([0, 1, 24, 168]) AS age_h, hour + toIntervalHour(age_h) AS target
    FROM gold_currency_snapshot FINAL
    WHERE realm = {realm:String}
        AND
        (
            (hour >= first_hour AND hour < end_hour)
            OR (hour >= first_hour - INTERVAL 1 HOUR AND hour < end_hour - INTERVAL 1 HOUR)
            OR (hour >= first_hour - INTERVAL 24 HOUR AND hour < end_hour - INTERVAL 24 HOUR)
            OR (hour >= first_hour - INTERVAL 168 HOUR AND hour < end_hour - INTERVAL 168 HOUR)
        )
        AND chaos_value > 0
        AND confidence >= 0.5
)
WHERE target >= first_hour AND target < end_hour
GROUP BY league, currency, target
HAVING chaos_value > 0
ORDER BY hour, league, thing
