"""Bytes and texts that Chronon stores, to values and back. Pure functions: no clock, no input or output.

avro       types as Avro schemas, in Chronon's own text
compiled   decoders and encoders of one schema; ``decoding`` writes their Python, ``encoding`` coerces, ``varints`` counts
columnar   records of Arrow columns as bytes, all at once: for uploads, with NumPy
keys       request keys as the bytes they are stored under
serving    the types that follow from a group by's serving info
thrift     the structs of configuration objects and the reader of their JSON
confs      that JSON as configuration objects; ``conf_json`` writes it as Chronon would
join_log   schemas of logged responses, their hash and the event that publishes them
hashes     MD5 as Chronon uses it; ``strings`` lists of texts; ``tagged`` values as JSON that keeps Java's types
"""
