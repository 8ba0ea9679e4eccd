-- step: silver_item_keys
-- version: 1
-- keeps: yes
-- reads: silver_listing_events
-- writes: silver_item_keys
-- watermark: river
-- columns: key, item_key, category, name, parts
--
-- The keys a batch met for the first time, taken apart as docs/item-keys.md says.
WITH splitByChar('|', item_key) AS words
SELECT
    key,
    item_key,
    words[1] AS category,
    words[2] AS name,
    CAST(
        arrayMap(
            word -> (substring(word, 1, position(word, '=') - 1), substring(word, position(word, '=') + 1)),
            arraySlice(words, 3)
        ),
        'Map(LowCardinality(String), String)'
    ) AS parts
FROM silver_listing_events
WHERE realm = {realm:String}
    AND batch_id = {batch_id:String}
    AND league IN {leagues:Array(String)}
    AND notEmpty(item_key)
    AND key NOT IN
    (
        SELECT key
        FROM silver_item_keys
        WHERE key IN
        (
            SELECT key
            FROM silver_listing_events
            WHERE realm = {realm:String} AND batch_id = {batch_id:String} AND notEmpty(item_key)
        )
    )
ORDER BY key
LIMIT 1 BY key
