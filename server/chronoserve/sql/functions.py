"""All functions by name, and the names that are refused with a reason."""

from itertools import chain

from chronoserve.sql import (
    functions_array,
    functions_cast,
    functions_conditional,
    functions_encoding,
    functions_format,
    functions_hash,
    functions_json,
    functions_lambda,
    functions_map,
    functions_math,
    functions_random,
    functions_regexp,
    functions_string,
    functions_time,
    functions_timestamp,
    functions_url,
    operators,
)
from chronoserve.sql.registry import Function

GROUPS: tuple[tuple[str, tuple[Function, ...]], ...] = (
    ("Operators", operators.FUNCTIONS),
    ("Conditions", functions_conditional.FUNCTIONS),
    ("Casts", functions_cast.FUNCTIONS),
    ("Mathematics", functions_math.FUNCTIONS),
    ("Strings", functions_string.FUNCTIONS),
    ("Encodings", functions_encoding.FUNCTIONS),
    ("Patterns", functions_regexp.FUNCTIONS),
    ("Formats", functions_format.FUNCTIONS),
    ("Dates and times", functions_time.FUNCTIONS),
    ("Times as text and numbers", functions_timestamp.FUNCTIONS),
    ("Arrays", functions_array.FUNCTIONS),
    ("Maps and structs", functions_map.FUNCTIONS),
    ("Lambdas", functions_lambda.FUNCTIONS),
    ("JSON", functions_json.FUNCTIONS),
    ("Hashes", functions_hash.FUNCTIONS),
    ("URLs", functions_url.FUNCTIONS),
    ("Chance", functions_random.FUNCTIONS),
)
FUNCTIONS: dict[str, Function] = {function.name: function for function in chain.from_iterable(group for _, group in GROUPS)}

AGGREGATES = """any any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor bitmap_construct_agg
bitmap_or_agg bool_and bool_or collect_list collect_set corr count count_if count_min_sketch covar_pop covar_samp every first first_value
grouping grouping_id histogram_numeric hll_sketch_agg hll_union_agg kurtosis last last_value max max_by mean median min min_by mode
percentile percentile_approx percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
regr_sxy regr_syy skewness some std stddev stddev_pop stddev_samp sum try_avg try_sum var_pop var_samp variance"""
WINDOWS = """cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number session_window window window_time"""
GENERATORS = "explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer stack"
CLOCKS = "current_date current_timestamp curdate now"
ZONES = "localtimestamp current_timezone"
SESSIONS = """current_catalog current_database current_schema current_user user session_user version input_file_name
input_file_block_length input_file_block_start java_method reflect"""
REFUSED: dict[str, str] = {
    **dict.fromkeys(AGGREGATES.split(), "is an aggregate: a derivation works on one row; array functions take lists"),
    **dict.fromkeys(WINDOWS.split(), "works on several rows: a derivation works on one"),
    **dict.fromkeys(GENERATORS.split(), "makes rows: a derivation is one column of one row"),
    **dict.fromkeys(CLOCKS.split(), "reads the clock, and only derivations have one: the request's ts"),
    **dict.fromkeys(ZONES.split(), "asks for the session's time zone: a derivation's times are UTC"),
    **dict.fromkeys(SESSIONS.split(), "asks a Spark session, and there is none"),
}
