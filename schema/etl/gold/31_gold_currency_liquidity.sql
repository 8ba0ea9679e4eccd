-- step: gold_currency_liquidity
-- version: 1
-- reads: gold_currency_snapshot, silver_exchange_ticks
-- writes: gold_liquidity
-- watermark: exchange
-- columns: realm, league, hour, kind, thing, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s, confidence, rate_hour, batch_id, as_of
--
-- How liquid each currency is on the exchange: one row per row of gold_currency_snapshot.
-- sold_24h, turnover_24h: units and chaos traded in the last 24 h. stock: the most units on offer in the hour, all
-- markets together, those that traded nothing as well. The exchange does not tell single orders: listings is 0.
-- sell_through: the share of what was on offer within the day, what is left and what was traded, that was traded.
-- time_to_sell_s: how long the stock lasts at the pace of the last 24 h; a mean by Little's law, not a median.
SELECT
    {realm:String} AS realm,
    price.league AS league,
    price.hour AS hour,
    'currency' AS kind,
    price.currency AS thing,
    price.value_traded_24h AS turnover_24h,
    price.units_24h AS sold_24h,
    offers.units AS stock,
    0 AS listings,
    price.spread AS spread,
    if(sold_24h + stock = 0, NULL, sold_24h / (sold_24h + stock)) AS sell_through,
    if(sold_24h = 0, NULL, 86400 * (stock / sold_24h)) AS time_to_sell_s,
    price.confidence AS confidence,
    price.hour AS rate_hour,
    price.batch_id AS batch_id,
    price.retrieved_at AS as_of
FROM
(
    SELECT league, hour, currency, value_traded_24h, units_24h, spread, confidence, batch_id, retrieved_at
    FROM gold_currency_snapshot FINAL
    WHERE realm = {realm:String} AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}
) AS price
LEFT JOIN
(
    SELECT league, hour, offer.1 AS currency, sum(offer.2) AS units
    FROM silver_exchange_ticks FINAL
    ARRAY JOIN [(currency_a, highest_stock_a), (currency_b, highest_stock_b)] AS offer
    WHERE realm = {realm:String} AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}
    GROUP BY league, hour, currency
) AS offers ON offers.league = price.league AND offers.hour = price.hour AND offers.currency = price.currency
ORDER BY hour, league, thing
