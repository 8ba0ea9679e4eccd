-- By league and stash, what was known (all empty if nothing was) and what a batch says, in the order of its pages: is the
-- stash at home there then, and what is told of it. A stash has a path in every league it is at home in, or was before.
-- A page tells of a stash once: met twice in it, it is at home in each league it is met in, and as the later of its
-- rows says, in the order of their columns.
-- What was seen before its newest known state is no part of it, nor is what that state was made of: read again after the
-- state was written, a batch has no paths. `states` has what is not merged yet, too, the newest first: cheaper than FINAL.
SELECT
    stash_id,
    arrayJoin(arrayDistinct(arrayConcat(
        states.league, arrayFilter(home -> notEmpty(home), arrayMap(told -> told.home, changes))
    ))) AS league,
    arrayFirst(state -> state.league = league, states) AS known,
    CAST(
        arrayReverse(arrayCompact(step -> step.1, arrayReverseSort(arrayMap(
            told -> (told.page_seq, told.home = league, told.seen_at, told.asked, told.owner, told.title, told.type, told.items),
            arrayFilter(told -> (told.seen_at, false) >= (known.last_seen, known.batch_id = {batch_id:String}), changes)
        )))),
        'Array(Tuple(page_seq UInt32, is_home Bool, seen_at DateTime64(3, \'UTC\'), asked String, owner String,
            title String, type String, items UInt32))'
    ) AS path
FROM
(
    SELECT
        stash_id,
        CAST(
            arrayReverseSort(groupArrayIf(state, is_known)),
            'Array(Tuple(league String, last_seen DateTime64(3, \'UTC\'), batch_id String,
                first_seen DateTime64(3, \'UTC\'), account String, stash_name String, stash_type String,
                item Array(UInt64), key Array(UInt64), amount Array(Float64), currency Array(String),
                stack Array(UInt32), listed_at Array(DateTime(\'UTC\')), changed_at Array(DateTime(\'UTC\')),
                repriced Array(UInt16), unread Array(Bool)))'
        ) AS states,
        CAST(
            groupArrayIf(told, NOT is_known),
            'Array(Tuple(page_seq UInt32, home String, seen_at DateTime64(3, \'UTC\'), asked String, owner String,
                title String, type String, items UInt32))'
        ) AS changes
    FROM
    (
        SELECT
            stash_id,
            true AS is_known,
            (toString(league), last_seen, toString(batch_id), first_seen, account, stash_name, toString(stash_type),
                item, key, amount, arrayMap(word -> toString(word), currency), stack, listed_at, changed_at, repriced,
                unread) AS state,
            (toUInt32(0), '', toDateTime64(0, 3, 'UTC'), '', '', '', '', toUInt32(0)) AS told
        FROM silver_canonical_stashes
        WHERE realm = {realm:String}
            AND stash_id IN (SELECT stash_id FROM bronze_raw_stashes WHERE realm = {realm:String} AND batch_id = {batch_id:String})
            AND league IN {leagues:Array(String)}
        UNION ALL
        SELECT
            stash_id,
            false,
            ('', toDateTime64(0, 3, 'UTC'), '', toDateTime64(0, 3, 'UTC'), '', '', '', [], [], [], [], [], [], [], [], []),
            (page_seq, if(public AND league IN {leagues:Array(String)}, toString(league), ''), retrieved_at, change_id,
                ifNull(account, ''), ifNull(stash_name, ''), toString(stash_type), item_count)
        FROM bronze_raw_stashes
        WHERE realm = {realm:String} AND batch_id = {batch_id:String}
    )
    GROUP BY stash_id
)
WHERE notEmpty(path)
