-- What stands in the stashes of a batch: one row per item of every public change, with the key of what it is, as
-- docs/item-keys.md tells. An item that cannot be read for sure has a row with the `reason` and no key; where the items
-- of a whole change cannot be read, each of them has such a row, with no id.
SELECT
    league, stash_id, page_seq, retrieved_at, change_id, account, item_id,
    sipHash64(item_id) AS item,
    greatest(count, 1) AS stack,
    note_text,
    arrayStringConcat(arrayConcat(
        arrayFilter(word -> notEmpty(word), [category, name]),
        arrayMap((part, value) -> concat(part, '=', value), mapKeys(parts), mapValues(parts))
    ), '|') AS item_key,
    sipHash64(item_key) * notEmpty(category) AS key,
    category,
    name,
    parts,
    reason
FROM
(
    SELECT
        league, stash_id, page_seq, retrieved_at, change_id, account, item_id, count, note_text, category, reason,
        replaceAll(multiIf(
            empty(category), '',
            category = 'unique' AND notEmpty(title), title,
            category = 'gem' AND position(type, base) > 0, type,
            category = 'map', splitByString(' (Tier ', base)[1],
            base
        ), '|', '/') AS name,
        mapFilter((part, value) -> notEmpty(value) AND notEmpty(category), mapFromArrays(
            arrayConcat(
                [
                    'base', 'variant', 'art', 'skill', 'enchant', 'blight', 'occupied', 'influences', 'tier',
                    'passives', 'links', 'level', 'quality', 'ilvl'
                ],
                flags
            ),
            arrayConcat(
                arrayMap(text -> replaceAll(text, '|', '/'), [
                    if(category = 'unique', base, ''),
                    arrayStringConcat(arraySort(arrayDistinct(multiIf(
                        category != 'unique', [],
                        title LIKE '%Atziri\'s Splendour',
                            extractAll(
                                mods, '(?:% increased|to maximum) ((?:Armour|Evasion|Energy Shield|Life)[^\n]*)'
                            ),
                        title LIKE '%Vinktar%',
                            extractAll(mods, '(Damage to Attacks|Damage to Spells|Penetrates|Converted)'),
                        title LIKE '%Doryani\'s Invitation',
                            extractAll(
                                mods, '% (?:increased (?:Global )?|of )(Physical|Fire|Cold|Lightning) Damage'
                            ),
                        title LIKE '%Yriel\'s Fostering', extractAll(mods, 'Summon Bestial (\\w+)'),
                        title LIKE '%Volkuur\'s Guidance', extractAll(mods, '(\\w+) Damage to Spells and Attacks'),
                        title LIKE '%Impresence', extractAll(mods, '(\\w+) (?:Damage|has no Reservation)'),
                        title LIKE 'Forbidden Fl%', extractAll(mods, 'Allocates ([^\n]+) if you have'),
                        title = 'Watcher\'s Eye',
                            extractAll(
                                replaceRegexpAll(mods, '[0-9]+(?:\\.[0-9]+)?', '#'),
                                '([^\n]+ while affected by [^\n]+)'
                            ),
                        base = 'Timeless Jewel', extractAll(mods, '[0-9] [^\n]* (\\w+)(?:\n|$)'),
                        title = 'Thread of Hope', extractAll(mods, 'in ([^\n]+) Ring'),
                        title = 'Impossible Escape', extractAll(mods, 'in Radius of ([^\n]+) can be Allocated'),
                        title = 'Voices', extractAll(mods, 'Adds ([0-9]+) Small Passive'),
                        title = 'Megalomaniac', extractAll(mods, 'Added Passive Skill is ([^\n]+)'),
                        extractAll(mods, 'Has ([0-9]+ Abyssal Socket)')
                    ))), ' + '),
                    art,
                    if(category = 'gem', skill, ''),
                    arrayStringConcat(extractAll(mods, 'Added Small Passive Skills grant: ([^\n]+)'), ' + '),
                    if(category = 'map', extract(type, '(Blighted|Blight-ravaged) '), ''),
                    if(category = 'map', extract(mods, 'Map (?:is occupied by|contains) ([\\w\' ]+)'), ''),
                    influences,
                    if(category = 'map', coalesce(nullIf(extract(base, '\\(Tier ([0-9]+)'), ''), tier), ''),
                    if(category = 'cluster_jewel', extract(mods, 'Adds ([0-9]+) Passive'), '')
                ]),
                arrayMap(number -> if(number = 0, '', toString(number)), [
                    if(linked < 5, 0, linked),
                    multiIf(category != 'gem', 0, level >= 20 OR is_max, least(level, 21), least(level, 1)),
                    arrayLast(low -> quality >= low, if(category = 'gem', [20, 23], [])),
                    arrayLast(low -> ifNull(item_level, 0) >= low, multiIf(
                        category = 'base', [82, 83, 84, 85, 86], category = 'cluster_jewel', [50, 68, 75, 84], []
                    ))
                ]),
                arrayMap(flag -> if(flag = 'corrupted' AND category = 'map', '', 'true'), flags)
            )
        )) AS parts
    FROM
    (
        SELECT
            league, stash_id, page_seq, retrieved_at, change_id, account, item_id, count, note_text,
            item_level, title, type, base, influences, linked, level, is_max, quality, tier,
            if(
                position(base, seen.hybrid.baseTypeName) = 0 AND seen.hybrid.isVaalGem, seen.hybrid.baseTypeName, ''
            ) AS skill,
            if(is_unidentified, extract(seen.icon, '([^/]+)\\.png'), '') AS art,
            arrayFilter((flag, is_so) -> is_so,
                [
                    'synthesised', 'fractured', 'replica', 'foulborn', 'foil', 'corrupted', 'unidentified', 'mirrored',
                    'split'
                ],
                [
                    seen.synthesised, seen.fractured, seen.replica, seen.mutated,
                    seen.isRelic OR seen.frameType IN ('9', '10'), seen.corrupted, is_unidentified AND frame = 'unique',
                    seen.duplicated, seen.split
                ]
            ) AS flags,
            if(
                frame = 'unique' OR match(base, '( Map| Cluster Jewel)$|^Map \\('),
                arrayStringConcat(arrayMap(
                    mod -> if(startsWith(mod, '{'), JSONExtractString(mod, 'description'), mod),
                    arrayConcat(seen.explicitMods, seen.mutatedMods, seen.implicitMods, seen.enchantMods)
                ), '\n'),
                ''
            ) AS mods,
            multiIf(
                is_unreadable, 'the items of the change cannot be read',
                empty(item_id), 'no id',
                empty(base) OR left(base, 1) IN ('{', '[') OR left(title, 1) IN ('{', '['), 'no readable name',
                empty(frame), 'no known frameType',
                isNull(item_level), 'ilvl is not a whole number up to 255',
                count = 0, 'stackSize is not a whole number from 1',
                ''
            ) AS reason,
            multiIf(
                notEmpty(reason), '',
                frame IN ('unique', 'gem', 'card', 'prophecy'), frame,
                frame = 'currency', if(empty(word), frame, replaceAll(lower(word), ' ', '_')),
                frame NOT IN ('normal', 'magic', 'rare'), '',
                frame = 'magic' AND empty(seen.baseType) AND NOT is_unidentified, '',
                area = 'monsters', 'beast',
                match(base, ' Map$|^Map \\('), 'map',
                endsWith(base, ' Cluster Jewel'), 'cluster_jewel',
                frame = 'normal' AND (item_level = 0 OR area = 'maps'), if(word = 'Scarab', 'scarab', 'fragment'),
                frame = 'normal' OR (frame = 'magic' AND seen.fractured), 'base',
                ''
            ) AS category
        FROM
        (
            SELECT
                league, stash_id, page_seq, retrieved_at, change_id, account, is_unreadable, seen,
                seen.id AS item_id,
                if(empty(seen.stackSize), 1, toUInt32OrZero(seen.stackSize)) AS count,
                if(empty(seen.ilvl), 0, toUInt8OrNull(seen.ilvl)) AS item_level,
                arrayFirst(
                    text -> startsWith(text, '~'), [trim(BOTH ' \t\r\n' FROM seen.note), stash_name]
                ) AS note_text,
                replaceRegexpOne(seen.name, '^(?:<<[^>]*>>)+', '') AS title,
                replaceRegexpOne(seen.typeLine, '^(?:<<[^>]*>>)*(?:Superior )?(?:Synthesised )?', '') AS type,
                if(empty(seen.baseType), type, seen.baseType) AS base,
                NOT ifNull(seen.identified, true) AS is_unidentified,
                transform(
                    if(empty(seen.frameType), seen.frameTypeId, seen.frameType),
                    [
                        '', '0', '1', '2', '3', '4', '5', '6', '8', '9', '10',
                        'Normal', 'Magic', 'Rare', 'Unique', 'Gem', 'Currency', 'DivinationCard', 'Prophecy', 'Relic',
                        'Foil'
                    ],
                    [
                        '', 'normal', 'magic', 'rare', 'unique', 'gem', 'currency', 'card', 'prophecy', 'unique',
                        'unique', 'normal', 'magic', 'rare', 'unique', 'gem', 'currency', 'card', 'prophecy', 'unique',
                        'unique'
                    ],
                    'other'
                ) AS frame,
                if(empty(seen.category), seen.extended.category, extract(seen.category, '\\w+')) AS area,
                extract(
                    seen.typeLine,
                    '\\b(Essence|Scarab|Fossil|Resonator|Oil|Catalyst|Delirium Orb|Incubator|Vial|Omen|Tattoo)\\b'
                ) AS word,
                arrayMap(values -> values[1].1, seen.properties.values) AS shown,
                toUInt8OrZero(extract(shown[indexOf(seen.properties.name, 'Level')], '^[0-9]+')) AS level,
                position(shown[indexOf(seen.properties.name, 'Level')], 'Max') > 0 AS is_max,
                toUInt8OrZero(extract(shown[indexOf(seen.properties.name, 'Quality')], '[0-9]+')) AS quality,
                shown[indexOf(seen.properties.name, 'Map Tier')] AS tier,
                arrayMax(arrayEnumerateUniq(seen.sockets.group)) AS linked,
                arrayStringConcat(arraySort(arrayDistinct(extractAll(
                    concat(seen.influences, if(seen.shaper, '"shaper":true', ''), if(seen.elder, '"elder":true', '')),
                    '"(\\w+)":true'
                ))), '+') AS influences
            FROM
            (
                -- One lone surrogate, bad UTF-8 or number beyond a double makes a whole payload unreadable: such a one
                -- is read once more with those mended, the number as text, so that its item alone is a misfit.
                WITH
                    'Array(Tuple(
                        id String, name String, typeLine String, baseType String, icon String, note String,
                        frameType String, frameTypeId String, ilvl String, stackSize String,
                        identified Nullable(Bool), corrupted Bool, duplicated Bool, split Bool, fractured Bool,
                        synthesised Bool, replica Bool, mutated Bool, isRelic Bool, shaper Bool, elder Bool,
                        influences String, explicitMods Array(String), implicitMods Array(String),
                        enchantMods Array(String), mutatedMods Array(String),
                        properties Array(Tuple(name String, values Array(Tuple(String)))),
                        sockets Array(Tuple(group Int64)), hybrid Tuple(isVaalGem Bool, baseTypeName String),
                        extended Tuple(category String), category String
                    ))' AS shape,
                    JSONExtract(payload, 'items', shape) AS plain,
                    if(length(plain) >= item_count, plain, JSONExtract(
                        replaceRegexpAll(
                            replaceRegexpAll(
                                toValidUTF8(payload),
                                '(\\\\u[dD][89abAB]..\\\\u[dD][c-fC-F]..)|\\\\u[dD][89a-fA-F]..', '\\1'
                            ),
                            '([:\\[,]) *(-?[0-9.]+[eE]\\+?[0-9]{3,}|-?[0-9]{300,}(?:\\.[0-9]+)?|NaN|-?Infinity)',
                            '\\1"\\2"'
                        ),
                        'items', shape
                    )) AS items
                SELECT
                    league, stash_id, page_seq, retrieved_at, change_id, ifNull(account, '') AS account,
                    trim(BOTH ' \t\r\n' FROM ifNull(stash_name, '')) AS stash_name,
                    length(items) < item_count AS is_unreadable,
                    arrayJoin(arrayResize(items, greatest(length(items), item_count))) AS seen
                FROM bronze_raw_stashes
                WHERE realm = {realm:String}
                    AND batch_id = {batch_id:String}
                    AND league IN {leagues:Array(String)}
                    AND league NOT IN ('', '(private)')
                    AND public
            )
        )
    )
)
