-- step: silver_exchange_ticks
-- version: 1
-- reads: bronze_exchange_events, reference_currencies
-- writes: silver_exchange_ticks
-- watermark: exchange
-- columns: realm, league, hour, market_id, currency_a, currency_b, volume_a, volume_b, lowest_stock_a, lowest_stock_b, highest_stock_a, highest_stock_b, lowest_ratio_a, lowest_ratio_b, highest_ratio_a, highest_ratio_b, vwap, batch_id, retrieved_at
--
-- One row per market and hour of a batch, with one vocabulary: where the reference table knows a trade tag of older
-- history, the metadata id stands in its place, in both currencies and in market_id, so that an hour read twice in two
-- vocabularies is one hour. Orientation, volumes, stocks and ratios stay exactly as upstream gave them.
-- vwap: what one A cost in B, volume-weighted over the hour; NULL when nothing was traded.
-- A market met twice in an hour: the later page stands, then the larger volume, then the remaining columns; between
-- batches the later retrieved_at replaces the earlier.
WITH tags AS
(
    SELECT trade_tag, min(metadata_id) AS id
    FROM reference_currencies FINAL
    WHERE game = if({realm:String} = 'poe2', 'poe2', 'poe1') AND notEmpty(trade_tag)
    GROUP BY trade_tag
)
SELECT
    event.realm AS realm,
    event.league AS league,
    event.hour AS hour,
    concat(currency_a, '|', currency_b) AS market_id,
    if(empty(tag_a.id), toString(event.currency_a), tag_a.id) AS currency_a,
    if(empty(tag_b.id), toString(event.currency_b), tag_b.id) AS currency_b,
    event.volume_a AS volume_a,
    event.volume_b AS volume_b,
    event.lowest_stock_a AS lowest_stock_a,
    event.lowest_stock_b AS lowest_stock_b,
    event.highest_stock_a AS highest_stock_a,
    event.highest_stock_b AS highest_stock_b,
    event.lowest_ratio_a AS lowest_ratio_a,
    event.lowest_ratio_b AS lowest_ratio_b,
    event.highest_ratio_a AS highest_ratio_a,
    event.highest_ratio_b AS highest_ratio_b,
    if(event.volume_a = 0 OR event.volume_b = 0, NULL, event.volume_b / event.volume_a) AS vwap,
    event.batch_id AS batch_id,
    event.retrieved_at AS retrieved_at
FROM bronze_exchange_events AS event
LEFT JOIN tags AS tag_a ON tag_a.trade_tag = event.currency_a
LEFT JOIN tags AS tag_b ON tag_b.trade_tag = event.currency_b
WHERE event.batch_id = {batch_id:String}
    AND event.realm = {realm:String}
    AND event.hour >= {hour_from:DateTime('UTC')}
    AND event.hour < {hour_to:DateTime('UTC')}
ORDER BY
    hour, league, market_id,
    event.retrieved_at DESC, event.page_seq DESC, volume_a DESC, volume_b DESC,
    highest_stock_a DESC, highest_stock_b DESC, lowest_stock_a DESC, lowest_stock_b DESC,
    highest_ratio_a DESC, highest_ratio_b DESC, lowest_ratio_a DESC, lowest_ratio_b DESC
LIMIT 1 BY hour, league, market_id
