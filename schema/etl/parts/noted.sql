-- Price notes read: the columns of `sighted` and amount (currency for ONE item; 0: no price), currency (canonical id,
-- or the tag as written where the reference table lacks it; '' without a price), note_reason (why a text that was meant
-- as a price was not read; '' where none was meant, as `~skip`). The grammar and what is refused: docs/price-notes.md.
--
-- The words after the figure are lower case, joined by dashes, without apostrophes. They are joined to the book by the
-- first of them: every spelling that begins so, the longest first, so that "exalted shard" is not "exalted". In the
-- book a trade tag beats a name, a name a nickname; of two ids with one spelling the first stands. Cards named by one
-- word are left out (Home), and so is the tag "offer", which is an exchange marker as well.
-- A batch says few different things over and over: what is made of note_said before the join is made once per
-- different note. Most notes are a figure and a spelling and nothing else; only the others are put to the questions of
-- why_not.
WITH
    '^ ?~ ?(?:price|g?b/o|c/o)[ :]*' AS verb,
    '(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)' AS number,
    concat(verb, number, '(?: ?/ ?', number, ')? ?') AS figure,
    '[a-z\']+(?:[ -][a-z\']+)*' AS phrase,
    '(?:c|chaos|ex|exa|exalt[a-z]*|div[a-z]*|mir[a-z]*|alch[a-z]*|alts?|fus[a-z]*|jew[a-z]*|chrom[a-z]*|vaals?)\\b'
        AS currency_word,
    concat(
        '^-(?:shard|fragment|splinter|vessel|scarab|essence|oil|fossil|catalyst|card|key|map|emblem|crest|stone|',
        'temple|lifeforce|tattoo|omen|rune|tome|beast|reliquary|chest|coin|gem|ring)s?\\b'
    ) AS another_thing,
    concat(
        '^ ?/[/ ]*[0-9]|^-all\\b|\\b(?:x[ -]?[0-9]|[0-9]+[ -]?x\\b|stack\\b|set\\b|dozen\\b)|',
        '\\b(?:per|for)[ -]?(?:[0-9]|all\\b|both\\b|bulk\\b|the\\b)'
    ) AS for_many,
    [
        'all', 'and', 'any', 'best', 'bid', 'bulk', 'buyout', 'cash', 'cheap', 'currency', 'dollar', 'dollars',
        'each', 'eur', 'euro', 'euros', 'firm', 'fix', 'fixed', 'for', 'free', 'item', 'items', 'left', 'level',
        'lvl', 'mil', 'mill', 'million', 'neg', 'nego', 'negotiable', 'not', 'obo', 'ono', 'only', 'open', 'orb',
        'orbs', 'per', 'piece', 'pieces', 'please', 'pls', 'plus', 'quality', 'sale', 'sell', 'set', 'sold', 'stack',
        'the', 'thousand', 'tier', 'trade', 'usd', 'whisper', 'wtb', 'wts'
    ] AS no_currency
SELECT
    * EXCEPT (note_said, note_figure, note_asked, note_items, note_words, note_rest, first_word, spellings, note_known,
        note_after, note_price, is_ambiguous, is_plain, why_not, is_read),
    if(is_read, note_price, 0) AS amount,
    multiIf(NOT is_read, '', empty(note_known.1), note_words, note_known.2) AS currency,
    why_not AS note_reason
FROM
(
    SELECT
        *,
        arrayFirst(
            spelling -> note_words = spelling.1 OR startsWith(note_words, concat(spelling.1, '-')), spellings
        ) AS note_known,
        concat(substring(note_words, length(note_known.1) + 1), note_rest) AS note_after,
        note_asked / note_items AS note_price,
        match(note_figure, ',[0-9]{3}([^0-9]|$)') AS is_ambiguous,
        notEmpty(note_known.1) AND empty(note_after) AND NOT is_ambiguous AND note_price BETWEEN 1e-9 AND 1e9 AS is_plain,
        multiIf(
            is_plain OR empty(note_said), '',
            NOT match(note_said, verb), if(
                NOT match(note_said, '^ ?~ ?skip')
                    AND match(note_said, concat('^ ?~[^0-9]*[0-9][0-9.,/]* ?', currency_word)),
                'no price word',
                ''
            ),
            empty(note_figure), 'no amount',
            startsWith(note_figure, '-'), 'negative amount',
            is_ambiguous, 'ambiguous comma',
            NOT match(note_figure, concat('^', number, '(?: ?/ ?', number, ')?$')), 'amount is no number',
            note_items = 0, 'ratio to no items',
            note_asked = 0, 'amount is zero',
            note_price NOT BETWEEN 1e-9 AND 1e9, 'absurd amount',
            empty(note_words) OR match(if(empty(note_known.1), note_rest, note_after), '^(?:[0-9_]|[^ -~])'), 'no currency',
            empty(note_known.1) AND match(note_words, '^off?er(?:s|ings?)?\\b'), 'ambiguous offer',
            empty(note_known.1) AND (
                has(no_currency, note_words)
                OR length(note_words) > 40
                OR NOT match(note_words, '^[a-z][a-z][a-z]+(?:-[a-z]+)*$')
                OR NOT match(note_said, concat(figure, note_words, '(?: |$)'))
            ), 'no known currency',
            match(note_after, another_thing), 'no known currency',
            match(note_after, for_many), 'amount for several items',
            match(note_after, concat('^ ?[-+&] ?[0-9.,/]+ ?$|(?:^ ?/|[0-9])[ -]?', currency_word)), 'two prices',
            ''
        ) AS why_not,
        notEmpty(note_words) AND empty(why_not) AS is_read
    FROM
    (
        SELECT
            *,
            trimRight(extract(note_said, concat(verb, '([-+0-9.,/ ]*)'))) AS note_figure,
            toFloat64OrZero(replaceOne(extract(note_said, concat(verb, '(', number, ')')), ',', '.')) AS note_asked,
            toFloat64OrZero(replaceOne(
                replaceRegexpOne(extract(note_said, concat(verb, number, ' ?/ ?(', number, ')')), '^$', '1'), ',', '.'
            )) AS note_items,
            replaceAll(replaceAll(extract(note_said, concat(figure, '(', phrase, ')')), '\'', ''), ' ', '-') AS note_words,
            replaceRegexpOne(note_said, concat(figure, '(?:', phrase, ')?'), '') AS note_rest
        FROM
        (
            SELECT
                *,
                lower(replaceRegexpAll(
                    translateUTF8(
                        toLowCardinality(note_text),
                        '’‘´`～．，／：０１２３４５６７８９ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ',
                        '\'\'\'\'~.,/:0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
                    ),
                    '[\\s\\p{Z}\\p{Cc}\\p{Cf}]+', ' '
                )) AS note_said
            FROM sighted
        )
    ) AS said
    LEFT JOIN
    (
        SELECT extract(word, '^[^-]+') AS first_word, arrayReverseSort(groupArray((word, id))) AS spellings
        FROM
        (
            SELECT spelling.2 AS word, min((spelling.1, metadata_id)).2 AS id
            FROM
            (
                SELECT
                    metadata_id,
                    lower(trade_tag) AS tag,
                    replaceAll(replaceAll(lower(name), '\'', ''), ' ', '-') AS full_name,
                    arrayConcat(
                        [
                            (1, tag),
                            (2, if(empty(tag) AND position(name, ' ') = 0, '', full_name)),
                            (3, if(empty(tag) OR position(tag, '-') > 0, '', concat(tag, 's')))
                        ],
                        arrayMap(nickname -> (3, nickname), splitByChar(' ', transform(
                            if(empty(tag), full_name, tag),
                            [
                                'alch', 'alt', 'annul', 'aug', 'bauble', 'blessed', 'cartographers-chisel', 'chaos',
                                'chrome', 'divine', 'exalted', 'fusing', 'gcp', 'jewellers', 'mirror', 'portal', 'scour',
                                'scrap', 'transmute', 'whetstone', 'wisdom'
                            ],
                            [
                                'alc alche alchemy',
                                'alteration alterations',
                                'annulment annulments anul',
                                'augment augmentation',
                                'glassblower glassblowers',
                                'bless',
                                'chisel chisels',
                                'c choas chaso caos cahos chaoss chaoses',
                                'chrom chroms chromatic chromatics',
                                'div divs devine devines divne',
                                'exa ex exas exs exalt exalts exhalted exlated exalated',
                                'fuse fus fuses',
                                'gemcutter gemcutters',
                                'jew jews jeweller jeweler jewelers',
                                'mir kalandra',
                                'port',
                                'scouring scourings',
                                'armourer armourers',
                                'trans transmutation transmutations',
                                'blacksmith blacksmiths',
                                'wis'
                            ],
                            ''
                        )))
                    ) AS named
                FROM reference_currencies FINAL
                WHERE game = 'poe1'
            )
            ARRAY JOIN named AS spelling
            WHERE word NOT IN ('', 'offer', 'offers')
            GROUP BY word
        )
        GROUP BY first_word
    ) AS book ON book.first_word = extract(said.note_words, '^[^-]+')
)
