"""The functions that MySQL, MariaDB and Aurora bring along and that leave nothing behind.

A `SELECT` that calls any other function may run a stored function, and so may write.
`NEXTVAL` and `SETVAL` are left out on purpose: sequences keep what they gave. Functions of loadable plug-ins are
unknown, as are qualified names (`sys.ps_thread_id`), which are stored functions always.
"""

from __future__ import annotations

_WITH_PARENTHESES = """
abs acos adddate addtime aes_decrypt aes_encrypt any_value ascii asin atan atan2 aurora_version avg benchmark bin
bin_to_uuid bit_and bit_count bit_length bit_or bit_xor can_access_column can_access_database can_access_table
can_access_view cast ceil ceiling char char_length character_length charset chr coalesce coercibility collation
column_check column_create column_exists column_get column_json column_list compress concat concat_ws connection_id
conv convert convert_tz cos cot count crc32 crc32c cume_dist curdate current_date current_role current_time
current_timestamp current_user curtime database date date_add date_format date_sub datediff day dayname dayofmonth
dayofweek dayofyear decode decode_oracle decrypt default degrees dense_rank des_decrypt des_encrypt elt encode
encrypt exp export_set extract extractvalue field find_in_set first_value floor format format_bytes format_pico_time
found_rows from_base64 from_days from_unixtime geomcollection geometrycollection get_format get_lock greatest
group_concat grouping gtid_subset gtid_subtract hex hour icu_version if ifnull inet6_aton inet6_ntoa inet_aton
inet_ntoa insert instr interval is_free_lock is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock is_uuid
isnull json_array json_array_append json_array_insert json_array_intersect json_arrayagg json_compact json_contains
json_contains_path json_depth json_detailed json_equals json_exists json_extract json_insert json_key_value
json_keys json_length json_loose json_merge json_merge_patch json_merge_preserve json_normalize json_object
json_object_filter_keys json_object_to_array json_objectagg json_overlaps json_pretty json_query json_quote
json_remove json_replace json_schema_valid json_schema_validation_report json_search json_set json_storage_free
json_storage_size json_table json_type json_unquote json_valid json_value kdf lag last_day last_insert_id last_value
lastval lcase lead least left length lengthb line linestring ln load_file localtime localtimestamp locate log log10
log2 lower lpad ltrim make_set makedate maketime master_gtid_wait master_pos_wait max mbrcontains mbrcoveredby
mbrcovers mbrdisjoint mbrequal mbrequals mbrintersects mbroverlaps mbrtouches mbrwithin md5 median microsecond mid
min minute mod month monthname multilinestring multipoint multipolygon name_const natural_sort_key now nth_value
ntile nullif nvl nvl2 oct octet_length old_password ord password percent_rank percentile_cont percentile_disc
period_add period_diff pi point polygon position pow power ps_current_thread_id ps_thread_id quarter quote radians
rand random_bytes rank regexp_instr regexp_like regexp_replace regexp_substr release_all_locks release_lock repeat
replace reverse right roles_graphml round row row_count row_number rownum rpad rtrim schema sec_to_time second
session_user sformat sha sha1 sha2 sign sin sleep soundex source_pos_wait space sqrt statement_digest
statement_digest_text std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index
subtime sum sysdate system_user tan time time_format time_to_sec timediff timestamp timestampadd timestampdiff
to_base64 to_char to_days to_number to_seconds trim trim_oracle trunc truncate ucase uncompress uncompressed_length
unhex unix_timestamp updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin uuid_v4
uuid_v7 validate_password_strength values value var_pop var_samp variance version wait_for_executed_gtid_set
wait_until_sql_thread_after_gtids week weekday weekofyear weight_string year yearweek
"""

# Words that may stand before a parenthesis without being a function's name.
_WORDS = """
all analyze and any array as between bigint binary bit blob bool boolean by case character collate columns cross
date datetime dec decimal distinct distinctrow div double dual else end except exists explain float for force from
fulltext having ignore in index inner int integer intersect interval is join json key lateral like limit longblob
longtext match against materialized mediumint natural nchar not null numeric nvarchar of offset on or order outer
over partition path real recursive regexp returning rlike select separator set share signed smallint some sounds
straight_join table text then time tinyint union unsigned update use using values varbinary varchar when where
window with within xor year group nested
"""

BUILT_IN: frozenset[str] = frozenset(_WITH_PARENTHESES.split()) | frozenset(_WORDS.split())


def is_built_in(name: str) -> bool:
    """Whether `name(` calls what the server brings along, or is no call at all."""
    name = name.lower()
    return name in BUILT_IN or name.startswith("st_")
