-- step: gold_item_prices
-- version: 1
-- reads: silver_canonical_stashes, silver_listing_events, silver_item_keys, silver_currency_rates, silver_currency_asks, reference_currencies
-- uses: rates, earlier_prices, quick_ends
-- writes: gold_item_prices
-- watermark: river
-- keeps: yes
-- every: interval
-- columns: realm, league, hour, item_key, key, category, name, chaos_value, divine_value, low, high, listings, units, sellers, rests_on_sellers, confidence, low_sample, last_seen, likely_sales_1h, likely_sales_24h, likely_sales_7d, sale_value, time_on_market_s, sparkline, sales_total, totals_by_hour, totals_by_quarter, ends, judged_until, rate_hour, batch_id, as_of
--
-- One row per league and item key that is listed, or was priced within seven days: what one is worth. Why, and how well:
-- docs/item-prices.md. Prices are in chaos at the rates of {at}.
-- A seller has one voice: the lowest price at which he lists the key in a stash that changed within three days, or at
-- which a listing of his, one of the key's 16 newest such of the last day, ended quickly (part quick_ends).
-- The price: of the voices in order, the half that lie closest together are looked for; those within 25 % of the middle
-- of that half are believed; their geometric mean is chaos_value, their outermost tenths are cut off by low and high.
-- rests_on_sellers: how many are believed. confidence: the probability that the price is within 15 % of the truth, from
-- that number and its share of the voices; below four of them at most a quarter each. Under 0.2 nobody can say: NULL.
-- likely_sales_*: quick ends within 25 % of the price, judged an hour later. _1h: in the last hour judged; _24h, _7d: in
-- this hour and the 23 before, in this quarter of a day and the 27 before. sale_value, time_on_market_s: lower medians
-- of those among `ends`.
-- The past is the newest row of an earlier hour alone, so a run costs the same however many hours are kept, and all runs
-- of one hour start from the same rows.
-- 10 million listings: an ask is one number, seller (32 bits) before price (Float32, whose bits order as it does), so
-- that sorting puts a seller's lowest first. A rate is found in one array, league by league; place 1 is "none": 0.
WITH
    toDateTime({at:DateTime64(3, 'UTC')}, 'UTC') - INTERVAL 1 HOUR AS until,
    toStartOfHour(toDateTime({at:DateTime64(3, 'UTC')}, 'UTC')) AS this_hour,
    0xFFFFFFFF AS low_half,
    arraySort({leagues:Array(String)}) AS leagues,
    (SELECT arrayPushFront(arraySort(groupUniqArray(toString(currency))), '') FROM rates) AS currencies,
    (
        SELECT groupArray(rate)
        FROM
        (
            SELECT rates.rate AS rate
            FROM (SELECT arrayJoin(leagues) AS league, arrayJoin(currencies) AS currency) AS wanted
            LEFT JOIN rates ON rates.league = wanted.league AND rates.currency = wanted.currency
            ORDER BY wanted.league, wanted.currency
        )
    ) AS league_rates,
    money AS
    (
        SELECT
            league,
            maxIf(
                rate,
                currency IN
                (
                    SELECT metadata_id
                    FROM reference_currencies FINAL
                    WHERE game = 'poe1' AND trade_tag = 'divine'
                )
            ) AS divine_rate,
            max(rate_hour) AS newest_hour
        FROM rates
        GROUP BY league
    ),
    standing AS
    (
        SELECT
            leagues[league_n] AS league,
            of_key AS key,
            arraySort(groupArray(ask)) AS asks,
            sum(pieces) AS units,
            max(seen_s) AS seen_s
        FROM
        (
            SELECT
                indexOf(leagues, league) AS league_n,
                bitShiftLeft(bitAnd(sipHash64(account), low_half), 32) AS seller,
                toUInt32(last_seen) AS seen_s,
                key,
                stack,
                arrayMap(
                    (one, of) -> bitOr(
                        seller,
                        reinterpretAsUInt32(toFloat32(least(
                            1e30,
                            one * league_rates[
                                (league_n - 1) * length(currencies)
                                    + transform(of, currencies, arrayEnumerate(currencies), 1)
                            ]
                        )))
                    ),
                    amount, currency
                ) AS ask
            FROM silver_canonical_stashes FINAL
            WHERE realm = {realm:String}
                AND league IN {leagues:Array(String)}
                AND last_seen > {at:DateTime64(3, 'UTC')} - INTERVAL 3 DAY
        )
        ARRAY JOIN key AS of_key, ask, stack AS pieces
        WHERE of_key != 0 AND bitAnd(ask, low_half) != 0
        GROUP BY league_n, of_key
    ),
    ended AS
    (
        SELECT
            league,
            key,
            groupArrayIf((ended_at, chaos, stood_s, seller), is_new) AS ends,
            groupArrayIf(chaos, ended_at > until - INTERVAL 1 HOUR) AS last_hour
        FROM quick_ends
        GROUP BY league, key
    ),
    earlier AS
    (
        SELECT
            toString(league) AS league, key, hour, last_seen, sparkline, sales_total, totals_by_hour,
            totals_by_quarter, ends
        FROM earlier_prices
    ),
    together AS
    (
        SELECT
            if(empty(now.league), earlier.league, now.league) AS league,
            if(empty(now.league), earlier.key, now.key) AS key,
            asks,
            units,
            last_hour,
            if(seen_s = 0, earlier.last_seen, toDateTime(seen_s, 'UTC')) AS last_seen,
            now.ends.2 AS new_ends,
            arraySlice(
                arrayReverseSort(arrayConcat(
                    now.ends, arrayFilter(end -> end.1 > until - INTERVAL 1 DAY, earlier.ends)
                )),
                1, 16
            ) AS ends,
            earlier.key = 0 AS is_first,
            least(24, if(is_first, 24, dateDiff('hour', earlier.hour, this_hour))) AS hours_on,
            least(28, if(is_first, 28,
                intDiv(toUInt32(this_hour), 21600) - intDiv(toUInt32(earlier.hour), 21600))) AS quarters_on,
            earlier.sales_total AS earlier_total,
            if(is_first, arrayWithConstant(24, toUInt32(0)), earlier.totals_by_hour) AS by_hour,
            if(is_first, arrayWithConstant(28, toUInt32(0)), earlier.totals_by_quarter) AS by_quarter,
            arrayResize(
                arraySlice(if(is_first, arrayWithConstant(28, toFloat32(0)), earlier.sparkline), 1 + quarters_on), 28
            ) AS line
        FROM
        (
            SELECT
                if(empty(standing.league), ended.league, standing.league) AS league,
                if(empty(standing.league), ended.key, standing.key) AS key,
                asks, units, seen_s, ends, last_hour
            FROM standing
            FULL JOIN ended ON ended.league = standing.league AND ended.key = standing.key
        ) AS now
        FULL JOIN earlier ON earlier.league = now.league AND earlier.key = now.key
        WHERE notEmpty(asks) OR notEmpty(ends) OR arrayExists(point -> point > 0, line)
    ),
    estimated AS
    (
        SELECT
            * EXCEPT (asks),
            toUInt32(length(asks)) AS listings,
            toUInt32(length(arrayCompact(ask -> bitShiftRight(ask, 32), asks))) AS sellers,
            arraySort(arrayConcat(
                asks, arrayMap(end -> bitOr(bitShiftLeft(toUInt64(end.4), 32), reinterpretAsUInt32(end.2)), ends)
            )) AS offers,
            arrayMap(bits -> reinterpretAsFloat32(bits), arraySort(arrayMap(
                offer -> toUInt32(bitAnd(offer, low_half)),
                arrayFilter(
                    (offer, before) -> bitShiftRight(offer, 32) != bitShiftRight(before, 32),
                    offers, arrayPopBack(arrayPushFront(offers, bitNot(toUInt64(0))))
                )
            ))) AS voices,
            length(voices) AS voices_n,
            intDiv(voices_n, 2) + 1 AS half,
            arrayMap(
                (first, last) -> last / first, arraySlice(voices, 1, voices_n - half + 1), arraySlice(voices, half)
            ) AS widths,
            indexOf(widths, arrayMin(widths)) AS closest,
            sqrt(toFloat64(voices[closest]) * voices[closest + half - 1]) AS middle,
            arrayFilter(voice -> voice >= middle * 0.8 AND voice <= middle * 1.25, voices) AS believed,
            toUInt32(length(believed)) AS rests_on,
            exp(arraySum(arrayMap(voice -> log(toFloat64(voice)), believed)) / rests_on) AS value,
            least(
                rests_on / 4,
                1 / (1 + exp(-(1.45 + 1.35 * log(rests_on) - 4 * (1 - rests_on / voices_n))))
            ) AS sure,
            rests_on > 0 AND sure >= 0.2 AS has_price
        FROM together
    ),
    priced AS
    (
        SELECT
            * EXCEPT (last_hour),
            if(has_price, toFloat64(toString(toFloat32(value))), NULL) AS chaos_value,
            intDiv(rests_on + 9, 10) AS tenth,
            arrayFilter(end -> has_price AND end.2 >= value * 0.8 AND end.2 <= value * 1.25, ends) AS sales,
            arrayCount(chaos -> has_price AND chaos >= value * 0.8 AND chaos <= value * 1.25, last_hour) AS last_hour,
            earlier_total
                + arrayCount(chaos -> has_price AND chaos >= value * 0.8 AND chaos <= value * 1.25, new_ends) AS total,
            arrayConcat(
                arraySlice(by_hour, 1 + hours_on), arrayWithConstant(hours_on, earlier_total)
            ) AS totals_by_hour,
            arrayConcat(
                arraySlice(by_quarter, 1 + quarters_on), arrayWithConstant(quarters_on, earlier_total)
            ) AS totals_by_quarter
        FROM estimated
    )
SELECT
    {realm:String} AS realm,
    priced.league AS league,
    this_hour AS hour,
    item.item_key AS item_key,
    priced.key AS key,
    item.category AS category,
    item.name AS name,
    chaos_value,
    if(money.divine_rate > 0, chaos_value / money.divine_rate, NULL) AS divine_value,
    if(has_price, toFloat64(toString(believed[tenth])), NULL) AS low,
    if(has_price, toFloat64(toString(believed[rests_on + 1 - tenth])), NULL) AS high,
    listings,
    units,
    sellers,
    if(has_price, rests_on, 0) AS rests_on_sellers,
    if(has_price, round(sure, 4), 0) AS confidence,
    NOT has_price OR rests_on < 5 AS low_sample,
    last_seen,
    last_hour AS likely_sales_1h,
    total - totals_by_hour[1] AS likely_sales_24h,
    total - totals_by_quarter[1] AS likely_sales_7d,
    if(empty(sales), NULL, toFloat64(toString(arraySort(sales.2)[intDiv(length(sales) + 1, 2)]))) AS sale_value,
    if(empty(sales), NULL, arraySort(sales.3)[intDiv(length(sales) + 1, 2)]) AS time_on_market_s,
    if(has_price, arrayPushBack(arrayPopBack(line), toFloat32(value)), line) AS sparkline,
    total AS sales_total,
    totals_by_hour,
    totals_by_quarter,
    ends,
    until AS judged_until,
    money.newest_hour AS rate_hour,
    {batch_id:String} AS batch_id,
    {at:DateTime64(3, 'UTC')} AS as_of
FROM priced
INNER JOIN (SELECT key, item_key, category, name FROM silver_item_keys FINAL) AS item ON item.key = priced.key
LEFT JOIN money ON money.league = priced.league
ORDER BY league, item_key
