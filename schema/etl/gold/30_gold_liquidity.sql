-- step: gold_liquidity
-- version: 1
-- reads: gold_item_prices
-- writes: gold_liquidity
-- watermark: river
-- every: interval
-- columns: realm, league, hour, kind, thing, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s, confidence, rate_hour, batch_id, as_of
--
-- How liquid each priced item key is: one row per row of the hour in gold_item_prices, with that row's evidence.
-- sold_24h: likely sales of the last 24 h. turnover_24h: these at the price of likely sales; each counts as one piece,
-- so for what is sold in stacks it is the least that was turned over. stock: pieces on offer with a readable price.
-- sell_through: the share of the listings on offer within the day, those that stand and those that sold, that sold.
-- time_to_sell_s: how long the listings that stand last at the day's pace; what did sell, sold faster: time_on_market_s.
SELECT
    realm,
    league,
    hour,
    'item' AS kind,
    item_key AS thing,
    if(likely_sales_24h = 0, 0, likely_sales_24h * coalesce(sale_value, chaos_value)) AS turnover_24h,
    likely_sales_24h AS sold_24h,
    units AS stock,
    listings,
    if(low > 0, high / low - 1, NULL) AS spread,
    if(listings + likely_sales_24h = 0, NULL, likely_sales_24h / (listings + likely_sales_24h)) AS sell_through,
    if(likely_sales_24h = 0, NULL, listings / likely_sales_24h * 86400) AS time_to_sell_s,
    confidence,
    if(toUInt32(rate_hour) = 0, NULL, rate_hour) AS rate_hour,
    batch_id,
    as_of
FROM gold_item_prices FINAL
WHERE realm = {realm:String}
    AND league IN {leagues:Array(String)}
    AND hour = toStartOfHour({at:DateTime64(3, 'UTC')}, 'UTC')
ORDER BY league, thing
