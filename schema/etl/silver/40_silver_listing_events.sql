-- step: silver_listing_events
-- version: 1
-- keeps: yes
-- reads: bronze_raw_stashes, silver_currency_rates
-- recalls: silver_canonical_stashes, silver_currency_asks
-- uses: sighted, noted, rates, paths
-- writes: silver_listing_events
-- watermark: river
-- columns: realm, league, batch_id, stash_id, item, page_seq, event, at, change_id, account, item_id, key, item_key, note, reason, amount, currency, stack, was_amount, was_currency, was_stack, chaos_value, rate, listed_at, changed_at, repriced, stood_s
--
-- What happened to the items of a batch's stashes since silver_canonical_stashes last saw them. A stash that became
-- private, lost its league or moved to another one is, for the league it was in, a stash without items. A stash met
-- several times in a batch is compared with itself, page by page; what was seen before its newest state is passed over.
-- An item whose key changed (identified, corrupted, linked) is gone as what it was and listed as what it is. One whose
-- price was given in a way nobody can read is repriced, too, and has the reason.
-- changed_at: since when it has this price. stood_s: from listed to gone. chaos_value: of one, at the rate of {at}.
SELECT
    {realm:String} AS realm,
    stories.league AS league,
    {batch_id:String} AS batch_id,
    stories.stash_id AS stash_id,
    about AS item,
    path[place].page_seq AS page_seq,
    event,
    path[place].seen_at AS at,
    path[place].asked AS change_id,
    told.3.1 AS account,
    told.3.2 AS item_id,
    told.2.1 AS key,
    told.3.3 AS item_key,
    told.3.4 AS note,
    told.3.5 AS reason,
    told.2.2 AS amount,
    told.2.3 AS currency,
    told.2.4 AS stack,
    was.2 AS was_amount,
    was.3 AS was_currency,
    was.4 AS was_stack,
    if(rates.rate > 0 AND amount > 0, amount * rates.rate, NULL) AS chaos_value,
    if(rates.rate > 0 AND amount > 0, rates.rate, NULL) AS rate,
    if(began = 0, known_listed_at, toDateTime(path[began].seen_at, 'UTC')) AS listed_at,
    if(priced = 0, known_changed_at, toDateTime(path[priced].seen_at, 'UTC')) AS changed_at,
    if(began = 0, known_repriced, 0)
        + arrayCount((what, n) -> has(what, 'repriced') AND n > began AND n <= place, happened, arrayEnumerate(happened)) AS repriced,
    if(event = 'gone', greatest(dateDiff('second', listed_at, toDateTime(at, 'UTC')), 0), 0) AS stood_s
FROM
(
    SELECT
        *,
        seen[indexOf(places, until)] AS told,
        seen[if(event IN ('repriced', 'stack'), indexOf(places, place - 1), 0)].2 AS was,
        arrayLastIndex((what, n) -> has(what, 'listed') AND n <= until, happened, arrayEnumerate(happened)) AS began,
        arrayLastIndex(
            (what, n) -> hasAny(what, ['listed', 'repriced']) AND n <= until, happened, arrayEnumerate(happened)
        ) AS priced
    FROM
    (
        SELECT *, happening.1 AS place, happening.2 AS event, if(event = 'gone', place - 1, place) AS until
        FROM
        (
            SELECT
                *,
                seen.1 AS places,
                arrayMap(n -> (has(places, n), seen[indexOf(places, n)].2), range(0, length(path) + 1)) AS offers,
                arrayMap(
                    (was, is) -> multiIf(
                        NOT was.1 AND NOT is.1, [],
                        NOT was.1, ['listed'],
                        NOT is.1, ['gone'],
                        was.2.1 != is.2.1, ['gone', 'listed'],
                        was.2.2 != is.2.2 OR was.2.3 != is.2.3 OR was.2.5 != is.2.5, ['repriced'],
                        was.2.4 != is.2.4, ['stack'],
                        []
                    ),
                    arrayPopBack(offers),
                    arrayPopFront(offers)
                ) AS happened
            FROM
            (
                SELECT
                    league,
                    stash_id,
                    sight.1 AS about,
                    path,
                    arraySort(groupArray((toUInt32(sight.2), sight.3, sight.4))) AS seen,
                    max(sight.5) AS known_listed_at,
                    max(sight.6) AS known_changed_at,
                    max(sight.7) AS known_repriced
                FROM paths
                LEFT JOIN
                (
                    SELECT
                        toString(league) AS league,
                        stash_id,
                        groupArray((
                            page_seq, item,
                            (key, amount, toString(currency), stack, notEmpty(reason) OR notEmpty(note_reason)),
                            (account, item_id, item_key, note_text, if(empty(reason), note_reason, reason))
                        )) AS shown
                    FROM noted
                    GROUP BY league, stash_id
                ) AS shop ON shop.league = paths.league AND shop.stash_id = paths.stash_id
                ARRAY JOIN arrayConcat(
                    arrayMap(
                        (item, key, amount, currency, stack, listed_at, changed_at, repriced, unread) -> (
                            item, 0, (key, amount, currency, stack, unread), (known.account, '', '', '', ''),
                            listed_at, changed_at, repriced
                        ),
                        known.item, known.key, known.amount, known.currency, known.stack,
                        known.listed_at, known.changed_at, known.repriced, known.unread
                    ),
                    arrayFilter(
                        shown_at -> shown_at.2 > 0,
                        arrayMap(
                            offer -> (
                                offer.2, arrayFirstIndex(step -> step.page_seq = offer.1 AND step.is_home, path), offer.3, offer.4,
                                toDateTime(0, 'UTC'), toDateTime(0, 'UTC'), toUInt16(0)
                            ),
                            shown
                        )
                    )
                ) AS sight
                GROUP BY league, stash_id, about, path
                HAVING arrayUniq(seen.1) <= length(path) OR arrayUniq(seen.2) > 1
            )
        )
        ARRAY JOIN arrayFlatten(
            arrayMap((what, n) -> arrayMap(event -> (n, event), what), happened, arrayEnumerate(happened))
        ) AS happening
    )
) AS stories
LEFT JOIN rates ON rates.league = stories.league AND rates.currency = told.2.3
ORDER BY league, stash_id, item, page_seq, event
