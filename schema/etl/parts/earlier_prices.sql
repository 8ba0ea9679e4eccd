-- The newest rows of gold_item_prices of an earlier hour, league by league: what a run goes on from.
-- Never rows of the hour of {at}: these are replaced tick by tick, and a tick that runs again is to read what it read.
SELECT *
FROM gold_item_prices FINAL
WHERE realm = {realm:String}
    AND (league, hour) IN
    (
        SELECT league, max(hour)
        FROM gold_item_prices
        WHERE realm = {realm:String}
            AND league IN {leagues:Array(String)}
            AND hour < toStartOfHour({at:DateTime64(3, 'UTC')})
            AND hour >= {at:DateTime64(3, 'UTC')} - INTERVAL 8 DAY
        GROUP BY league
    )
