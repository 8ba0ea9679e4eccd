-- step: silver_canonical_stashes
-- version: 1
-- keeps: yes
-- reads: bronze_raw_stashes, silver_listing_events
-- uses: paths
-- writes: silver_canonical_stashes
-- watermark: river
-- columns: realm, stash_id, league, account, stash_name, stash_type, public, item_count, change_id, first_seen, last_seen, batch_id, page_seq, item, key, amount, currency, stack, listed_at, changed_at, repriced, unread
--
-- Each stash of a batch as its last change left it: what it was, and what the batch's events changed. The last of the
-- silver steps: the others compare with what it wrote.
WITH
    arrayLast(step -> step.is_home, path) AS told,
    arraySort(arrayConcat(
        arrayFilter(
            entry -> NOT has(happened.3, entry.1),
            arrayZip(known.item, known.key, known.amount, known.currency, known.stack, known.listed_at, known.changed_at,
                known.repriced, known.unread)
        ),
        arrayMap(
            turn -> (turn.3, turn.4, turn.5, turn.6, turn.7, turn.8, turn.9, turn.10, turn.11),
            arrayFilter((turn, n) -> turn.2 AND n = indexOf(happened.3, turn.3), happened, arrayEnumerate(happened))
        )
    )) AS entries
SELECT
    {realm:String} AS realm,
    paths.stash_id AS stash_id,
    paths.league AS league,
    if(told.is_home, told.owner, known.account) AS account,
    if(told.is_home, told.title, known.stash_name) AS stash_name,
    if(told.is_home, told.type, known.stash_type) AS stash_type,
    path[-1].is_home AS public,
    if(public, path[-1].items, 0) AS item_count,
    path[-1].asked AS change_id,
    if(empty(known.league), arrayFirst(step -> step.is_home, path).seen_at, known.first_seen) AS first_seen,
    arrayMax(path.seen_at) AS last_seen,
    {batch_id:String} AS batch_id,
    path[-1].page_seq AS page_seq,
    entries.1 AS item,
    entries.2 AS key,
    entries.3 AS amount,
    entries.4 AS currency,
    entries.5 AS stack,
    entries.6 AS listed_at,
    entries.7 AS changed_at,
    entries.8 AS repriced,
    entries.9 AS unread
FROM paths
LEFT JOIN
(
    SELECT
        toString(league) AS league,
        stash_id,
        arrayReverseSort(groupArray((
            page_seq, event != 'gone', item, key, amount, toString(currency), stack, listed_at, changed_at, repriced,
            notEmpty(reason)
        ))) AS happened
    FROM silver_listing_events
    WHERE realm = {realm:String} AND batch_id = {batch_id:String} AND league IN {leagues:Array(String)}
    GROUP BY league, stash_id
) AS turns ON turns.league = paths.league AND turns.stash_id = paths.stash_id
ORDER BY stash_id, league
