"""Names replayed (d): datasets, keys, paths and hashes that follow from a name."""

from collections.abc import Iterator

from chronoserve.app.replay.compare import Difference, entry_differences
from chronoserve.app.replay.recording import Record
from chronoserve.codec import hashes
from chronoserve.model import naming

NAMESPACE = "ns"
"""The recordings' output namespace."""


def replay(record: Record) -> tuple[dict[str, object], Iterator[Difference]]:
    name = record["name"]
    answers: dict[str, object] = {
        "clean_name": naming.sanitize(name),
        "batch_dataset": naming.batch_dataset(name),
        "streaming_dataset": naming.streaming_dataset(name),
        "name_to_file_path": naming.name_to_file_path(name),
        "join_conf_key": naming.join_conf_key(naming.name_to_file_path(name)),
        "conf_path_to_key": naming.conf_path_to_key(name),
        "upload_table": naming.upload_table(NAMESPACE, name),
        "md5_base64_10": hashes.md5_base64_10(name),
        "md5_long": hashes.md5_long(name.encode()),
    }
    expected = {field: value for field, value in record.items() if field != "name"}
    return answers, entry_differences(expected, answers, "")
