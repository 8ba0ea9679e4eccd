-- The items that are currencies: key, currency, tag. An item is the currency that bears its name if nothing else is in its
-- key; where two ids have one name, it is both.
SELECT item.key AS key, reference.metadata_id AS currency, reference.trade_tag AS tag
FROM silver_item_keys AS item FINAL
INNER JOIN
(
    SELECT metadata_id, name, trade_tag
    FROM reference_currencies FINAL
    WHERE game = if({realm:String} = 'poe2', 'poe2', 'poe1')
) AS reference ON reference.name = item.name
WHERE empty(item.parts) AND item.category NOT IN ('unique', 'base', 'gem', 'prophecy')
