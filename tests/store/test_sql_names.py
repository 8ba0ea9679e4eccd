"""The list of functions people may call, against the engine's own: no name on neither list, none that is not there."""

import re

from ledgerd.sql.names import COMBINATORS, SYNTAX, SYSTEM_TABLES, load_names

WITHHELD = {
    "asks a model of somebody else's": r"(?i:ai(classify|embed|extract|filter|generate|redact|similarity|translate))",
    "reads a file, a dictionary, a model or a table named by text": (
        r"file|dict(Get|Has|IsIn).*|region[A-Z].*|evalMLMethod|naiveBayesClassifier.*|joinGet(OrNull)?|hasColumnInTable"
    ),
    "tells of the machine, its configuration, its insides or its other users": (
        r"filesystem[A-Z].*|getMacro|getServer(Setting|Port)|getMergeTreeSetting|getMaxTableNameLengthForDatabase"
        r"|getOSKernelVersion|(full)?[hH]ostName|hostname|FQDN|serverUUID|buildId|showCertificate|tcpPort|chdb|tid"
        r"|zookeeperSessionUptime|hasThreadFuzzer|auth(enticated)?User|(current|default|enabled)(Profiles|Roles)"
        r"|getClientHTTPHeader|current(Handler|RequestURL)|shard(Num|Count)|transaction[A-Z].*|addressTo.*|demangle"
        r"|logTrace|isMergeTreePartCoveredBy|mergeTreePartInfo|partitionI[dD]|getTypeSerializationStreams"
        r"|runningConcurrency|flameGraph"
    ),
    "waits or fails on purpose, or keeps a count in the server": r"sleep(EachRow)?|aggThrow|fuzzQuery|generateSerialID",
    "formats by what settings name, or writes queries and schemas for other programs": (
        r"formatRow(NoNewline)?|groupFormat|structureTo.*Schema|generateRandomStructure|parseQueryToJSON"
        r"|formatQueryFromJSON|obfuscateQuery.*|tokenizeQuery|highlightQuery"
    ),
    "is written by the engine itself, never by people": (
        r"__.*|.*[iI]nIgnoreSet|nested|validateNestedArraySizes|nothing.*"
    ),
    "belongs to an engine of time series that is not here": (
        r"timeSeries(CopyTags?|ExtractTag|Group.*To.*|Id.*To.*|JoinTags|MetricTypeToSuffixes|PrometheusValueToString"
        r"|RemoveAllTagsExcept|RemoveTags?|ReplaceTag|StoreTags|Tags.*To.*|ThrowDuplicateSeriesIf)"
    ),
    "goes on for minutes at one long value, and notices no limit there": (
        r"arrayLevenshteinDistance(Weighted)?|arraySimilarity|multi(Fuzzy)?Match.*|polygons.*|geometryIntersect.*"
    ),
}
"""Why a function of the engine may not be called, and which those are."""
TABLE_FUNCTIONS = {
    "generateSeries", "generate_series", "numbers", "numbers_mt", "primes", "view", "zeros", "zeros_mt",
}  # fmt: skip
"""All of them read nothing but their arguments. ``values`` and ``null`` do not: a text declares their columns, which
may be expressions (``b String ALIAS file('…')``)."""


async def test_every_function_of_the_engine_is_either_offered_or_withheld_with_a_reason(engine):
    names = load_names()
    there = {name for (name,) in await engine.rows("SELECT name FROM system.functions")}
    withheld = {name for name in there if any(re.fullmatch(pattern, name) for pattern in WITHHELD.values())}
    offered = {name for name in there if names.has(name)}

    assert sorted(there - offered - withheld) == [], "look what they do, and put them on one of the two lists"
    assert sorted(offered & withheld) == []


async def test_every_name_on_the_list_is_a_function_of_the_engine(engine):
    names = load_names()
    rows = await engine.rows("SELECT lower(name), is_aggregate, coalesce(higher_order, 0) FROM system.functions")
    plain = {name for name, is_aggregate, takes in rows if not is_aggregate and not takes}
    taking = {name for name, _, takes in rows if takes}
    aggregates = {name for name, is_aggregate, _ in rows if is_aggregate}
    tables = {name for (name,) in await engine.rows("SELECT name FROM system.table_functions")}

    assert names.plain <= plain
    assert names.taking_functions <= taking
    assert taking & names.plain == set(), "it takes functions: it belongs to the part that says so"
    assert names.aggregates <= aggregates
    assert names.tables == TABLE_FUNCTIONS <= tables
    assert SYNTAX & {name for name, *_ in rows} == set()


async def test_every_combinator_of_the_engine_is_known(engine):
    there = {name.lower() for (name,) in await engine.rows("SELECT name FROM system.aggregate_function_combinators")}

    assert set(COMBINATORS) == there
    assert all(load_names().has(f"sum{end}") for end in COMBINATORS)
    assert load_names().has("quantilesTDigestArrayMergeStateIf")
    assert not load_names().has("fileIf")
    assert not load_names().has("StateIf")
    assert not load_names().has("sum" + "If" * 100_000)


async def test_every_system_table_on_the_list_is_there(engine):
    there = {name for (name,) in await engine.rows("SELECT name FROM system.tables WHERE database = 'system'")}

    assert there >= SYSTEM_TABLES
