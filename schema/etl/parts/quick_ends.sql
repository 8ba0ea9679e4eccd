-- Listings with a price that ended within 90 minutes, as those do that somebody took: league, item, key, ended_at,
-- chaos, stood_s, seller (sipHash64 of the account, 32 bits), is_new.
-- An end is judged an hour after it: from where earlier_prices got to (is_new; at most a day back) up to an hour before
-- {at}, and again those of the hour before that. It is none where the item (its id stays with it) was listed again
-- since, be it elsewhere; where its stash is not public any more; and where the item stood there when the stash was
-- first seen, for nobody knows how long.
-- The state is read without FINAL where every version of a stash says the same: this costs what is new.
WITH
    toDateTime({at:DateTime64(3, 'UTC')}, 'UTC') - INTERVAL 1 HOUR AS until,
    judged AS
    (
        SELECT toString(league) AS league, min(judged_until) AS since FROM earlier_prices GROUP BY league
    ),
    (SELECT greatest(until - INTERVAL 1 DAY, least(until - INTERVAL 1 HOUR, min(since))) FROM judged) AS first_at,
    gone AS
    (
        SELECT DISTINCT
            toString(league) AS league, stash_id, item, key, toDateTime(at, 'UTC') AS ended_at, stood_s, listed_at,
            toFloat32(assumeNotNull(chaos_value)) AS chaos,
            toUInt32(bitAnd(sipHash64(account), 0xFFFFFFFF)) AS seller
        FROM silver_listing_events
        WHERE realm = {realm:String}
            AND league IN {leagues:Array(String)}
            AND event = 'gone'
            AND at > first_at
            AND at <= until
            AND stood_s <= 5400
            AND key != 0
            AND chaos_value > 0
    )
SELECT
    gone.league AS league,
    gone.item AS item,
    key,
    ended_at,
    chaos,
    stood_s,
    seller,
    ended_at > judged.since AS is_new
FROM gone
LEFT JOIN judged ON judged.league = gone.league
LEFT JOIN
(
    SELECT item, toDateTime(max(at), 'UTC') AS newest
    FROM silver_listing_events
    WHERE realm = {realm:String}
        AND event = 'listed'
        AND at > first_at - INTERVAL 90 MINUTE
        AND at <= {at:DateTime64(3, 'UTC')}
        AND item IN (SELECT item FROM gone)
    GROUP BY item
) AS listed ON listed.item = gone.item
WHERE (is_new OR ended_at > until - INTERVAL 1 HOUR)
    AND listed.newest <= listed_at
    AND (gone.league, gone.stash_id, listed_at) NOT IN
    (
        SELECT toString(league), stash_id, toDateTime(first_seen, 'UTC')
        FROM silver_canonical_stashes
        WHERE realm = {realm:String} AND first_seen > first_at - INTERVAL 90 MINUTE
    )
    AND (gone.league, gone.stash_id) NOT IN
    (
        SELECT toString(league), stash_id
        FROM silver_canonical_stashes FINAL
        WHERE realm = {realm:String}
            AND NOT public
            AND stash_id IN
            (
                SELECT stash_id
                FROM silver_canonical_stashes
                WHERE realm = {realm:String} AND NOT public AND last_seen > first_at
            )
    )
