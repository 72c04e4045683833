"""Upload tables made from source tables, as Chronon's GroupByUpload makes them (spec/aggregation-and-codecs.md §8, §11, §12).

``plan`` says what is read of which table, ``query`` turns its rows into keys, inputs and times, ``engine`` brings the rows
of a key together, ``values`` makes the value that is stored for them, ``table`` writes the upload. Blocking throughout.
"""
