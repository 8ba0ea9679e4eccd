-- What one of each currency is worth in chaos at {at}: league, currency, rate, rate_hour.
-- The newest hour of the day before; the exchange before listings. Only what was fetched 5 minutes before {at} counts:
-- by then it was refined when the batch first was, so a rebuild reads what the first run read.
SELECT
    league,
    currency,
    argMax(rate, (is_traded, hour)) AS rate,
    argMax(hour, (is_traded, hour)) AS rate_hour
FROM
(
    SELECT league, currency, rate, true AS is_traded, hour
    FROM silver_currency_rates FINAL
    WHERE realm = {realm:String}
        AND league IN {leagues:Array(String)}
        AND hour > {at:DateTime64(3, 'UTC')} - INTERVAL 25 HOUR
        AND hour <= {at:DateTime64(3, 'UTC')}
        AND retrieved_at <= {at:DateTime64(3, 'UTC')} - INTERVAL 5 MINUTE
    UNION ALL
    SELECT league, currency, chaos_value, false, hour
    FROM silver_currency_asks FINAL
    WHERE realm = {realm:String}
        AND league IN {leagues:Array(String)}
        AND hour > {at:DateTime64(3, 'UTC')} - INTERVAL 25 HOUR
        AND retrieved_at <= {at:DateTime64(3, 'UTC')} - INTERVAL 5 MINUTE
    UNION ALL
    SELECT arrayJoin({leagues:Array(String)}), metadata_id, 1, true, toDateTime(0, 'UTC')
    FROM reference_currencies FINAL
    WHERE game = 'poe1' AND trade_tag = 'chaos'
)
GROUP BY league, currency
