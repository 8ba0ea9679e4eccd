-- step: silver_currency_listings
-- version: 1
-- reads: silver_currency_asks
-- writes: silver_currency_norm
-- watermark: river
-- every: hour
-- columns: realm, league, hour, currency, chaos_value, divine_value, units, value_traded, markets, spread, confidence, log_sd, low_sample, source, sellers, batch_id, retrieved_at
--
-- Where the exchange has no market for a currency, silver_currency_asks is its value, marked by its source. Nothing is
-- known to have been traded. Should the exchange have a value for the hour after all, it is fetched later, and replaces
-- this one.
SELECT
    realm, league, hour, currency, chaos_value, divine_value, 0 AS units, NULL AS value_traded, 0 AS markets, spread,
    confidence, NULL AS log_sd, low_sample, 'listings' AS source, sellers, batch_id, retrieved_at
FROM silver_currency_asks FINAL
WHERE realm = {realm:String}
    AND league IN {leagues:Array(String)}
    AND hour = toStartOfHour({at:DateTime64(3, 'UTC')}, 'UTC')
ORDER BY league, currency
