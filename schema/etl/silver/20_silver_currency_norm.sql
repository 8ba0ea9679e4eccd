-- step: silver_currency_norm
-- version: 2
-- reads: silver_exchange_ticks
-- writes: silver_currency_norm
-- watermark: exchange
-- python: normalise
-- columns: realm, league, hour, currency, chaos_value, divine_value, units, value_traded, markets, spread, confidence, log_sd, low_sample, batch_id, retrieved_at
--
-- The ticks of an hour, league by league, as ledgerd.chaos_scale.normalise takes them; what it returns is written to
-- the columns above. It is asked once per hour that has ticks. The order is part of the contract: equal rows in equal
-- order give equal values to the last bit.
SELECT
    league,
    currency_a, currency_b, volume_a, volume_b,
    lowest_stock_a, lowest_stock_b, highest_stock_a, highest_stock_b,
    lowest_ratio_a, lowest_ratio_b, highest_ratio_a, highest_ratio_b,
    retrieved_at
FROM silver_exchange_ticks FINAL
WHERE realm = {realm:String} AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}
ORDER BY league, market_id
