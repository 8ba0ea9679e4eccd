-- step: silver_currency_price
-- version: 1
-- reads: silver_currency_norm
-- writes: silver_currency_price
-- watermark: exchange
-- columns: realm, league, hour, currency, chaos_value, divine_value, units, value_traded, markets, spread, confidence, rests_on_hours, low_sample, batch_id, retrieved_at
--
-- What a currency is priced at: the hour's own value, blended with those of the eleven hours before it as far as it is
-- unsure. One row per row of silver_currency_norm that came from the exchange; units, value_traded, markets, spread,
-- low_sample are the hour's own.
-- An hour is doubted by the part of its log error that is its own (two fifths of its variance; the rest repeats from
-- hour to hour and no blend removes it), by the way prices drift (4 % an hour, squares adding up), and by how far it is
-- from the newest hour beyond twice what these two explain: a price that jumped leaves the hours before it behind.
-- Weights are the inverse of these variances. The blend's own variance is the part that repeats, the parts that do not
-- (averaged), and two fifths of the scatter of the hours about it. confidence: the mass within 15 % of a Student-t of 5
-- degrees of that variance, set right by what the newest hour's own confidence differs from the same formula, as far as
-- that hour carries the weight; so an hour alone is exactly itself. All constants: docs/chaos-scale.md.
-- rests_on_hours: hours that carry 5 % of the weight or more. divine_value has the weights of chaos_value.
-- An hour without a value in chaos is not blended and lends nothing; so its own values stand.
-- Floats are only ever summed in the order of age; hours are unique per currency, so any() over "own" sees one row.
WITH
    toUInt32({hour_from:DateTime('UTC')}) AS batch_from_s,
    toUInt32({hour_to:DateTime('UTC')}) - 3600 AS batch_last_s,
    11 * 3600 AS reach_s,
    0.4 AS own_share,
    0.04 AS drift,
    log(1.15) / (0.82 * sqrt(5)) AS near,
    hours.log_chaos AS moves,
    hours.log_sd AS sds,
    arrayMap((age_h, sd) -> own_share * sd * sd + drift * drift * age_h, hours.age_h, sds) AS usual,
    arrayMap(
        (own, move) -> own + 5 * greatest(0, move * move - 4 * (own + own_share * sds[1] * sds[1])), usual, moves
    ) AS variances,
    arraySum(arrayMap(variance -> 1 / variance, variances)) AS precision,
    arrayMap(variance -> 1 / variance / precision, variances) AS weights,
    arraySum(arrayMap((weight, move) -> weight * move, weights, moves)) AS shift,
    arraySum(arrayMap((weight, sd) -> weight * sd, weights, sds)) AS mean_sd,
    arraySum(arrayMap((weight, move) -> weight * (move - shift) * (move - shift), weights, moves)) AS scatter,
    sqrt((1 - own_share) * mean_sd * mean_sd + 1 / precision + 0.4 * scatter) AS sd,
    arrayMap(angle -> (angle + sin(angle) * cos(angle) * (1 + cos(angle) * cos(angle) * 2 / 3)) * 2 / pi(),
        [atan(near / sd), atan(near / sds[1])]) AS masses
SELECT
    {realm:String} AS realm,
    league,
    toDateTime(target_s, 'UTC') AS hour,
    currency,
    own_chaos * exp(shift) AS chaos_value,
    own_divine * exp(arraySum(arrayMap((weight, move) -> weight * move, weights, hours.log_divine))) AS divine_value,
    own_units AS units,
    own_value_traded AS value_traded,
    own_markets AS markets,
    own_spread AS spread,
    if(empty(hours), own_confidence,
        round(least(greatest(masses[1] + weights[1] * (own_confidence - masses[2]), 0), 1), 4)) AS confidence,
    if(empty(hours), toUInt8(isNotNull(own_divine)), arrayCount(weight -> weight >= 0.05, weights)) AS rests_on_hours,
    own_low_sample AS low_sample,
    own_batch_id AS batch_id,
    own_retrieved_at AS retrieved_at
FROM
(
    SELECT
        league,
        currency,
        target_s,
        anyIf(chaos, own) AS own_chaos,
        anyIf(divine, own) AS own_divine,
        anyIf(hour_units, own) AS own_units,
        anyIf(hour_traded, own) AS own_value_traded,
        anyIf(hour_markets, own) AS own_markets,
        anyIf(hour_spread, own) AS own_spread,
        anyIf(hour_confidence, own) AS own_confidence,
        anyIf(is_low_sample, own) AS own_low_sample,
        anyIf(hour_batch_id, own) AS own_batch_id,
        anyIf(hour_retrieved_at, own) AS own_retrieved_at,
        ifNull(own_chaos, 0) AS chaos_now,
        ifNull(own_divine, 0) AS divine_now,
        arrayFilter(
            known -> chaos_now > 0 AND known.2 > 0 AND (known.3 > 0) = (divine_now > 0),
            arraySort(groupArray((age_h, ifNull(chaos, 0), ifNull(divine, 0), error)))
        ) AS knowns,
        CAST(
            arrayMap(
                known -> (known.1, log(known.2 / chaos_now), if(divine_now > 0, log(known.3 / divine_now), 0), known.4),
                knowns
            ),
            'Array(Tuple(age_h Float64, log_chaos Float64, log_divine Float64, log_sd Float64))'
        ) AS hours
    FROM
    (
        SELECT
            league, currency, chaos_value AS chaos, divine_value AS divine, greatest(ifNull(log_sd, 0), 0.005) AS error,
            units AS hour_units, value_traded AS hour_traded, markets AS hour_markets, spread AS hour_spread,
            confidence AS hour_confidence, low_sample AS is_low_sample,
            batch_id AS hour_batch_id, retrieved_at AS hour_retrieved_at,
            toUInt32(hour) AS hour_at_s,
            arrayJoin(range(
                greatest(hour_at_s, batch_from_s), least(hour_at_s + reach_s, batch_last_s) + 1, toUInt32(3600)
            )) AS target_s,
            intDiv(target_s - hour_at_s, 3600) AS age_h,
            age_h = 0 AS own
        FROM silver_currency_norm FINAL
        WHERE realm = {realm:String}
            AND hour >= {hour_from:DateTime('UTC')} - INTERVAL 11 HOUR
            AND hour < {hour_to:DateTime('UTC')}
            AND source = 'exchange'
    )
    GROUP BY league, currency, target_s
    HAVING countIf(own) > 0
)
ORDER BY hour, league, currency
