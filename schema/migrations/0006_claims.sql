-- Who harvests what: where several ledgerd share one server, the first to claim a source has it while it is seen. `holds`
-- says that it did at its last renewal: after an outage of the server, when all are unseen alike, it has it still.
-- Times are the server's own, so that the clocks of several machines need not agree.

CREATE TABLE IF NOT EXISTS harvest_claims
(
    source LowCardinality(String),
    holder String,
    host String,
    holds Bool,
    since DateTime64(3, 'UTC'),
    seen_at DateTime64(3, 'UTC'),
    written_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (source, holder)
TTL toDateTime(written_at) + INTERVAL 7 DAY;
