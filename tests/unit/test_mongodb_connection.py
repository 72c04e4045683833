"""``mongodb://`` URLs: what is handed on, what is refused, and what stands in its place."""

import pytest
from pymongo.read_preferences import SecondaryPreferred

from chronoserve.kvstore.backends.mongodb.connection import connect
from chronoserve.kvstore.backends.mongodb.store import capability_of
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.errors import InvalidRequest


async def test_an_acknowledged_write_is_journalled_by_a_majority_unless_the_url_says_otherwise() -> None:
    databases = connect(StoreURL.parse("mongodb://one,two:27018/features"))
    assert databases.writes.write_concern.document == {"w": "majority", "j": True}
    assert databases.reads.read_concern.level == "majority"
    assert databases.reads.name == databases.writes.name == "features"
    assert capability_of(databases.writes).durable
    await databases.close()
    databases = connect(StoreURL.parse("mongodb://one/?w=1&journal=false"))
    assert databases.writes.name == "chronoserve"
    assert not capability_of(databases.writes).durable
    assert "w=1, j=false" in capability_of(databases.writes).durability
    await databases.close()


async def test_options_and_credentials_are_handed_on_and_retries_are_not_the_drivers() -> None:
    url = "mongodb://us%40er:p%3Aw%2F@[::1]:5,h/features?maxPoolSize=7&readPreference=secondaryPreferred&replicaSet=rs&authSource=admin"
    databases = connect(StoreURL.parse(url))
    for client in (databases.reads.client, databases.writes.client):
        assert client.options.pool_options.max_pool_size == 7
        assert client.options.replica_set_name == "rs"
        assert not client.options.retry_writes
        assert not client.options.retry_reads
        assert client.read_preference == SecondaryPreferred()
    assert "p:w/" not in StoreURL.parse(url).redacted
    await databases.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://h/d?maxPolSize=7", "maxPolSize"),
        ("mongodb://h/d?maxPoolSize=many", "maxPoolSize"),
        ("mongodb://h/d?retryWrites=true", "leave retryWrites out"),
        ("mongodb://h/d?timeoutMS=5", "leave timeoutMS out"),
        ("mongodb://h/d?w=0", "w=0"),
        ("mongodb://h/a/b", "the path"),
        ("mongodb://h/a$b", "the path"),
        ("mongodb://h/d?tls=true&tlsCAFile=/nowhere.pem", "TLS cannot be read"),
        ("mongodb://user:secret@h,i/d?directConnection=true", "multiple hosts"),
    ],
)
async def test_what_would_be_ignored_or_unsafe_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        connect(StoreURL.parse(url))
    assert "secret" not in caught.value.message
    assert "nowhere" not in caught.value.message
