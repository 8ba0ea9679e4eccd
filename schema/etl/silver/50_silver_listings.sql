-- step: silver_listings
-- version: 1
-- keeps: yes
-- reads: silver_listing_events
-- writes: silver_listings
-- watermark: river
-- columns: realm, league, stash_id, item, item_id, item_key, account, note, amount, currency, chaos_value, rate, stack, listed_at, changed_at, repriced, batch_id, is_gone
--
-- The last word of a batch about each listing with a price. One that went, or lost its price, is written once more as gone.
SELECT
    realm, league, stash_id, item, item_id, item_key, account, note, amount, currency, chaos_value, rate, stack,
    listed_at, at AS changed_at, repriced, batch_id, event = 'gone' OR amount = 0 AS is_gone
FROM silver_listing_events FINAL
WHERE realm = {realm:String}
    AND batch_id = {batch_id:String}
    AND league IN {leagues:Array(String)}
    AND (amount > 0 OR was_amount > 0)
ORDER BY league, stash_id, item, page_seq DESC, event = 'gone'
LIMIT 1 BY league, stash_id, item
