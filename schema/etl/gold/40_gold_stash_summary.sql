-- step: gold_stash_summary
-- version: 1
-- reads: silver_canonical_stashes, silver_item_keys, silver_currency_rates, silver_currency_asks, reference_currencies, gold_item_prices
-- uses: rates, currency_items
-- writes: gold_stash_summary
-- watermark: river
-- every: interval
-- columns: realm, league, hour, stash_id, account, stash_name, stash_type, public, items, listed, unconverted, unpriced, asked_chaos, market_chaos, unpriced_share, changed_at, rate_hour, batch_id, as_of
--
-- What a stash holds and what that is worth: one row per stash that changed since {window_from}, also one that emptied.
-- listed: items with a readable price; asked_chaos: what these ask for their whole stacks, but for the unconverted
-- ones, whose currency has no rate. market_chaos: what all items, listed or not, are worth at the prices of this hour in
-- this league that have a confidence of 0.5 or more, a currency else at its rate; unpriced: items that have neither.
-- rate_hour: of the oldest rate an ask was converted with; NULL where only chaos was asked.
-- PREWHERE, for it leaves out rows before FINAL looks at the rest: what it leaves out is never the newest of a stash
-- that changed, and only of those that did all columns are read.
SELECT
    {realm:String} AS realm,
    held.league AS league,
    toStartOfHour({at:DateTime64(3, 'UTC')}, 'UTC') AS hour,
    held.stash_id AS stash_id,
    max(held.owner) AS account,
    max(held.title) AS stash_name,
    max(held.type) AS stash_type,
    max(held.is_public) AS public,
    countIf(stack > 0) AS items,
    countIf(amount > 0) AS listed,
    countIf(amount > 0 AND rates.rate = 0) AS unconverted,
    countIf(stack > 0 AND prices.value = 0) AS unpriced,
    arraySum(arraySort(groupArrayIf(amount * rates.rate * stack, amount > 0))) AS asked_chaos,
    arraySum(arraySort(groupArrayIf(prices.value * stack, prices.value > 0))) AS market_chaos,
    if(items = 0, 0, unpriced / items) AS unpriced_share,
    max(held.seen_at) AS changed_at,
    nullIf(minIf(rates.rate_hour, toUInt32(rates.rate_hour) > 0), toDateTime(0, 'UTC')) AS rate_hour,
    {batch_id:String} AS batch_id,
    {at:DateTime64(3, 'UTC')} AS as_of
FROM
(
    SELECT
        league, stash_id, account AS owner, stash_name AS title, stash_type AS type, public AS is_public,
        last_seen AS seen_at, item_key, amount, asked_in, stack
    FROM silver_canonical_stashes FINAL
    LEFT ARRAY JOIN key AS item_key, amount AS amount, currency AS asked_in, stack AS stack
    PREWHERE last_seen >= {window_from:DateTime64(3, 'UTC')}
    WHERE realm = {realm:String} AND league IN {leagues:Array(String)}
) AS held
LEFT JOIN rates ON rates.league = held.league AND rates.currency = held.asked_in
LEFT JOIN
(
    SELECT league, key, argMax(price, (is_item, hour, price)) AS value
    FROM
    (
        SELECT toString(league) AS league, key, assumeNotNull(chaos_value) AS price, true AS is_item, hour
        FROM gold_item_prices FINAL
        WHERE realm = {realm:String}
            AND league IN {leagues:Array(String)}
            AND hour = toStartOfHour({at:DateTime64(3, 'UTC')}, 'UTC')
            AND chaos_value > 0
            AND confidence >= 0.5
        UNION ALL
        SELECT toString(rates.league), item.key, rates.rate, false, rates.rate_hour
        FROM rates
        INNER JOIN currency_items AS item ON item.currency = rates.currency
    )
    GROUP BY league, key
) AS prices ON prices.league = held.league AND prices.key = held.item_key
GROUP BY league, stash_id
ORDER BY league, stash_id
