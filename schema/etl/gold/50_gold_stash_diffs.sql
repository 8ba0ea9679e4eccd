-- step: gold_stash_diffs
-- version: 1
-- reads: silver_listing_events, silver_currency_rates, silver_currency_asks, reference_currencies, bronze_ingest_checkpoints
-- uses: rates
-- writes: gold_stash_diffs
-- watermark: river
-- every: hour
-- columns: realm, league, hour, stash_id, account, added, removed, repriced, restacked, unconverted, added_chaos, removed_chaos, repriced_chaos, restacked_chaos, first_batch, last_batch, batch_id, as_of
--
-- What happened in each stash in each of the hours just over. Events are counted, not differences: an item that was
-- listed and went within the hour is one added and one removed.
-- added_chaos, removed_chaos: what the whole stacks asked when they came and went. repriced_chaos, restacked_chaos: by
-- how much that changed, a stack that sold in part is negative; a price taken back counts as a change to nothing.
-- Rates are those of the event; a former price in another currency is converted at that of {at}. unconverted: events
-- with a price in a currency without a rate; they are counted and add no value.
-- first_batch, last_batch: those the events are from. Only the batches of the window are read; the one that closes
-- it may hold its last moments.
WITH
    if(event.amount = 0, 0, event.chaos_value * event.stack) AS worth,
    multiIf(
        event.was_amount = 0, 0,
        event.was_currency = event.currency AND event.rate > 0, event.was_amount * event.rate * event.was_stack,
        rates.rate > 0, event.was_amount * rates.rate * event.was_stack,
        NULL
    ) AS was_worth,
    event.event IN ('repriced', 'stack') AS is_change,
    if(is_change, worth - was_worth, worth) AS value,
    ifNull(value, 0) AS known_value
SELECT
    {realm:String} AS realm,
    event.league AS league,
    toStartOfHour(event.at, 'UTC') AS hour,
    event.stash_id AS stash_id,
    argMax(event.account, (event.at, event.account)) AS account,
    countIf(event.event = 'listed') AS added,
    countIf(event.event = 'gone') AS removed,
    countIf(event.event = 'repriced') AS repriced,
    countIf(event.event = 'stack') AS restacked,
    countIf(isNull(value)) AS unconverted,
    arraySum(arraySort(groupArrayIf(known_value, event.event = 'listed'))) AS added_chaos,
    arraySum(arraySort(groupArrayIf(known_value, event.event = 'gone'))) AS removed_chaos,
    arraySum(arraySort(groupArrayIf(known_value, event.event = 'repriced'))) AS repriced_chaos,
    arraySum(arraySort(groupArrayIf(known_value, event.event = 'stack'))) AS restacked_chaos,
    min(event.batch_id) AS first_batch,
    max(event.batch_id) AS last_batch,
    {batch_id:String} AS batch_id,
    {at:DateTime64(3, 'UTC')} AS as_of
FROM
(
    SELECT *
    FROM silver_listing_events FINAL
    WHERE realm = {realm:String}
        AND league IN {leagues:Array(String)}
        AND at >= {window_from:DateTime64(3, 'UTC')}
        AND at < {window_to:DateTime64(3, 'UTC')}
        AND batch_id IN
        (
            SELECT batch_id
            FROM bronze_ingest_checkpoints
            WHERE source = {source:String}
                AND retrieved_at >= {window_from:DateTime64(3, 'UTC')}
                AND retrieved_at <= {at:DateTime64(3, 'UTC')}
        )
) AS event
LEFT JOIN rates ON rates.league = event.league AND rates.currency = event.was_currency
GROUP BY league, hour, stash_id
ORDER BY hour, league, stash_id
