-- step: silver_currency_asks
-- version: 1
-- reads: silver_canonical_stashes, silver_item_keys, reference_currencies
-- recalls: silver_currency_rates
-- uses: rates, currency_items
-- writes: silver_currency_asks
-- watermark: river
-- every: hour
-- columns: realm, league, hour, currency, chaos_value, divine_value, spread, sellers, confidence, low_sample, batch_id, retrieved_at
--
-- What currencies cost by the listings of their items, as these stand when the hour begins, where the exchange had no
-- market for a day. A row is written once and stays: what it was for the batches after it, it is for a rebuild.
-- Only asks in chaos or divines count, none in the currency itself, none in a stash that has not changed for three
-- days. A seller counts once, with the lower median of his asks for one; the value is the lower median of the
-- sellers', three or more.
-- spread: between the sellers' quartiles. confidence: sellers / (sellers + 10), times the share of sellers within 25 % of
-- the value, times 0.8: asks are no trades, so never as sure as the exchange can be.
WITH
    {at:DateTime64(3, 'UTC')} AS now_at,
    traded AS
    (
        SELECT market.league AS league, item.key AS key
        FROM silver_currency_rates AS market FINAL
        INNER JOIN currency_items AS item ON item.currency = market.currency
        WHERE market.realm = {realm:String}
            AND market.league IN {leagues:Array(String)}
            AND market.hour > now_at - INTERVAL 25 HOUR
            AND market.hour <= now_at
            AND market.retrieved_at <= now_at - INTERVAL 5 MINUTE
    ),
    wanted AS
    (
        SELECT arrayJoin({leagues:Array(String)}) AS league, key, currency, tag
        FROM currency_items
        WHERE tag != 'chaos' AND (league, key) NOT IN (SELECT league, key FROM traded)
    ),
    money AS
    (
        SELECT rates.league AS league, rates.currency AS currency, rates.rate AS rate, reference.trade_tag AS tag
        FROM rates
        INNER JOIN reference_currencies AS reference FINAL ON reference.metadata_id = rates.currency
        WHERE reference.game = if({realm:String} = 'poe2', 'poe2', 'poe1') AND reference.trade_tag IN ('chaos', 'divine')
    ),
    offers AS
    (
        SELECT toString(league) AS league, account, item_key, asked, toString(asked_in) AS asked_in
        FROM silver_canonical_stashes FINAL
        ARRAY JOIN key AS item_key, amount AS asked, currency AS asked_in
        PREWHERE last_seen > now_at - INTERVAL 3 DAY
        WHERE realm = {realm:String}
            AND league IN {leagues:Array(String)}
            AND item_key IN (SELECT key FROM wanted)
            AND asked > 0
    ),
    asks AS
    (
        SELECT league, currency, tag, arraySort(groupArray(ask)) AS sorted
        FROM
        (
            SELECT
                offers.league AS league,
                wanted.currency AS currency,
                wanted.tag AS tag,
                offers.account AS account,
                arraySort(groupArray(offers.asked * money.rate)) AS own,
                own[intDiv(length(own) + 1, 2)] AS ask
            FROM offers
            INNER JOIN wanted ON wanted.league = offers.league AND wanted.key = offers.item_key
            INNER JOIN money ON money.league = offers.league AND money.currency = offers.asked_in
            WHERE offers.asked_in != wanted.currency
            GROUP BY league, currency, tag, account
        )
        GROUP BY league, currency, tag
        HAVING length(sorted) >= 3
    )
SELECT
    {realm:String} AS realm,
    asks.league AS league,
    toStartOfHour(now_at, 'UTC') AS hour,
    asks.currency AS currency,
    asks.sorted[intDiv(sellers + 1, 2)] AS chaos_value,
    multiIf(asks.tag = 'divine', 1, divine.rate > 0, chaos_value / divine.rate, NULL) AS divine_value,
    asks.sorted[intDiv(3 * sellers + 3, 4)] / asks.sorted[intDiv(sellers + 3, 4)] - 1 AS spread,
    length(asks.sorted) AS sellers,
    round(
        0.8 * arrayCount(ask -> ask >= chaos_value / 1.25 AND ask <= chaos_value * 1.25, asks.sorted) / (sellers + 10), 4
    ) AS confidence,
    sellers < 5 AS low_sample,
    {batch_id:String} AS batch_id,
    now_at AS retrieved_at
FROM asks
LEFT JOIN (SELECT league, rate FROM money WHERE tag = 'divine') AS divine ON divine.league = asks.league
ORDER BY league, currency
