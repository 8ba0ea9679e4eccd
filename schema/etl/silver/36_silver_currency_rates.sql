-- step: silver_currency_rates
-- version: 1
-- reads: silver_currency_price
-- writes: silver_currency_rates
-- watermark: exchange
-- columns: realm, league, hour, currency, rate, batch_id, retrieved_at
--
-- The prices of a batch's hours in chaos, ordered by hour: a batch of listings asks for a day of all currencies.
SELECT realm, league, hour, currency, assumeNotNull(chaos_value) AS rate, batch_id, retrieved_at
FROM silver_currency_price FINAL
WHERE realm = {realm:String}
    AND hour >= {hour_from:DateTime('UTC')}
    AND hour < {hour_to:DateTime('UTC')}
    AND chaos_value > 0
ORDER BY hour, league, currency
