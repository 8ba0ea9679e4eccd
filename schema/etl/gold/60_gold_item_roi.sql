-- step: gold_item_roi
-- version: 1
-- reads: gold_item_prices
-- writes: gold_item_roi
-- watermark: river
-- every: hour
-- columns: realm, league, hour, kind, thing, chaos_value, low_1h, low_24h, low_7d, roi_1h, roi_24h, roi_7d, confidence, rate_hour, batch_id, as_of
--
-- What an item earned that was bought at the low of the hour 1 h (24 h, 7 d) before and sold at this hour's median:
-- roi = chaos_value / low - 1. One row per item key and hour just over that ends surely priced: a confidence of 0.5 or
-- more. low and roi are NULL where the hour at exactly that distance has no row, no low or less confidence.
-- The hours are over, so their rows are final; of what came before, the three hours asked for are read, nothing between.
WITH
    {window_from:DateTime64(3, 'UTC')} AS first_hour,
    {window_to:DateTime64(3, 'UTC')} AS end_hour
SELECT
    {realm:String} AS realm,
    league,
    target AS hour,
    'item' AS kind,
    item_key AS thing,
    maxIf(value, age_h = 0) AS chaos_value,
    nullIf(maxIf(cheapest, age_h = 1), 0) AS low_1h,
    nullIf(maxIf(cheapest, age_h = 24), 0) AS low_24h,
    nullIf(maxIf(cheapest, age_h = 168), 0) AS low_7d,
    chaos_value / low_1h - 1 AS roi_1h,
    chaos_value / low_24h - 1 AS roi_24h,
    chaos_value / low_7d - 1 AS roi_7d,
    maxIf(sureness, age_h = 0) AS confidence,
    nullIf(maxIf(rated, age_h = 0), toDateTime(0, 'UTC')) AS rate_hour,
    {batch_id:String} AS batch_id,
    {at:DateTime64(3, 'UTC')} AS as_of
FROM
(
    SELECT
        league, item_key, ifNull(chaos_value, 0) AS value, ifNull(low, 0) AS cheapest, confidence AS sureness,
        rate_hour AS rated, arrayJoin([0, 1, 24, 168]) AS age_h, hour + toIntervalHour(age_h) AS target
    FROM gold_item_prices FINAL
    WHERE realm = {realm:String}
        AND league IN {leagues:Array(String)}
        AND
        (
            (hour >= first_hour AND hour < end_hour)
            OR (hour >= first_hour - INTERVAL 1 HOUR AND hour < end_hour - INTERVAL 1 HOUR)
            OR (hour >= first_hour - INTERVAL 24 HOUR AND hour < end_hour - INTERVAL 24 HOUR)
            OR (hour >= first_hour - INTERVAL 168 HOUR AND hour < end_hour - INTERVAL 168 HOUR)
        )
        AND confidence >= 0.5
)
WHERE target >= first_hour AND target < end_hour
GROUP BY league, item_key, target
HAVING chaos_value > 0
ORDER BY hour, league, thing
