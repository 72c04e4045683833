"""What chronoserve stores in Redis, version 1: keys, members, scripts and the commands that read and write them.

Each (dataset, key) is one Redis key, ``cs1:{}:<dataset>:<key>``. The empty braces are no hash tag and keep later ones
from being one, so a cluster hashes the whole key, whatever bytes it holds.

- LATEST: a string, the timed value itself: MGET answers what travels. Expiry is Redis's own.
- TIMED: a sorted set with all scores 0, so ordered by its members, which are millis (8 bytes, big-endian), nonce (16),
  expires_at (8, big-endian), timed value. One command reads a range of times, one finds (millis, nonce) in O(log n).
- ``cs1:datasets``: a hash from dataset name to ``{"kind": "LATEST", "ttl_millis": 0}``.
"""

import json
from collections.abc import Sequence
from hashlib import sha1
from struct import Struct

from chronoserve.kvstore.backends.redis.connection import pack
from chronoserve.kvstore.port import PutRequest
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue

DATASETS = b"cs1:datasets"

NEVER = 2**64 - 1
"""``expires_at`` of a member that does not expire."""

MILLIS = Struct(">Q")
EXPIRES_AT_BEGINS = 24
VALUE_BEGINS = 32

PUT_LATEST = """
-- KEYS: the key. ARGV: timed value, its millis, expires_at (0: never). The newest millis stays; at equal ones the later write.
local function varint(text, at)
  local number, scale = 0, 1
  while true do
    local byte = string.byte(text, at)
    at = at + 1
    if byte < 128 then return number + byte * scale, at end
    number = number + (byte - 128) * scale
    scale = scale * 128
  end
end

-- A timed value is 0a <length> 0a <length> <value> 10 <millis>; an empty value and zero millis are left out.
local function event_time(timed_value)
  local length, at = varint(timed_value, 2)
  if string.byte(timed_value, at) == 0x0a then
    length, at = varint(timed_value, at + 1)
    at = at + length
  end
  if string.byte(timed_value, at) ~= 0x10 then return 0 end
  return (varint(timed_value, at + 1))
end

local stored = redis.call('GET', KEYS[1])
if stored and event_time(stored) > tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[3])
end
return 1
"""

PUT_TIMED = """
-- KEYS: the key. ARGV: millis and nonce (24 bytes), expires_at (8 bytes) and timed value, expires_at (0: never), now.
-- A value that is there under the same millis and nonce stays as it is, unless it has expired.
local key, identity, expires_at, now = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])

local function drop_expired(members)
  for _, member in ipairs(members) do
    if struct.unpack('>I8', member, 25) <= now then redis.call('ZREM', key, member) end
  end
end

-- No member with this identity sorts after nine ff: expires_at is eight bytes and a timed value begins with 0a.
local last = '(' .. identity .. string.rep('\\255', 9)
local same = redis.call('ZRANGE', key, '[' .. identity, last, 'BYLEX', 'LIMIT', 0, 1)[1]
if same and struct.unpack('>I8', same, 25) > now then return 0 end
local existed = redis.call('EXISTS', key) == 1
if same then drop_expired({same}) end
-- Each write looks at the oldest few: what expires is reclaimed at least as fast as it comes, at a bounded cost a write.
if existed and expires_at > 0 then drop_expired(redis.call('ZRANGE', key, '-', '+', 'BYLEX', 'LIMIT', 0, 4)) end
redis.call('ZADD', key, 0, identity .. ARGV[2])
if expires_at == 0 then
  if existed then redis.call('PERSIST', key) end
elseif existed and redis.call('ZCARD', key) > 1 then
  redis.call('PEXPIREAT', key, expires_at, 'GT')
else
  redis.call('PEXPIREAT', key, expires_at)
end
return 1
"""

SCRIPTS = (PUT_LATEST, PUT_TIMED)
PUT_LATEST_SHA, PUT_TIMED_SHA = (sha1(script.encode()).hexdigest().encode() for script in SCRIPTS)  # noqa: S324 - EVALSHA's own naming


def key_prefix(dataset: Dataset) -> bytes:
    """What the keys of a dataset begin with. Names hold neither ``:`` nor a character that MATCH takes for a pattern."""
    return b"cs1:{}:%b:" % dataset.name.encode()


class BulkHeads(dict[int, bytes]):
    """For each length of key, what stands before a key of one dataset in a command: its length on the wire and the prefix.

    Head and key together are an argument of MGET, at the price of one concatenation a key. The lengths that occur are few.
    """

    def __init__(self, prefix: bytes) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, key_bytes: int) -> bytes:
        head = self[key_bytes] = b"\r\n$%d\r\n%b" % (len(self._prefix) + key_bytes, self._prefix)
        return head


def mget_command(arguments: Sequence[bytes]) -> bytes:
    """MGET of keys that carry their heads."""
    return b"*%d\r\n$4\r\nMGET%b\r\n" % (len(arguments) + 1, b"".join(arguments))


def member(put: PutRequest) -> bytes:
    """A TIMED value as it is stored."""
    return b"".join((MILLIS.pack(put.millis), put.nonce, MILLIS.pack(put.expires_at or NEVER), put.timed_value))


def put_command(key: bytes, put: PutRequest, now: int) -> bytes:
    """The command that applies ``put`` to the Redis key ``key``; ``now`` in epoch milliseconds."""
    if not put.dataset.timed:
        return pack(b"EVALSHA", PUT_LATEST_SHA, 1, key, put.timed_value, put.millis, put.expires_at)
    stored = member(put)
    return pack(b"EVALSHA", PUT_TIMED_SHA, 1, key, stored[:EXPIRES_AT_BEGINS], stored[EXPIRES_AT_BEGINS:], put.expires_at, now)


def get_timed_command(key: bytes, after_ts_millis: int) -> bytes:
    """The command that answers the members at or after a time, oldest first."""
    return pack(b"ZRANGE", key, b"[" + MILLIS.pack(after_ts_millis) if after_ts_millis else b"-", b"+", b"BYLEX")


def timed_values(members: Sequence[bytes], now: int) -> bytes:
    """The values of ``members`` that have not expired, in travelling form."""
    alive_from = MILLIS.pack(now + 1)
    return b"".join([stored[VALUE_BEGINS:] for stored in members if stored[EXPIRES_AT_BEGINS:VALUE_BEGINS] >= alive_from])


def encode_properties(properties: Properties) -> bytes:
    return json.dumps({"kind": properties.kind.name, "ttl_millis": properties.ttl_millis}).encode()


def decode_properties(stored: bytes) -> Properties:
    """Raises CorruptValue where ``stored`` was not written by ``encode_properties``."""
    try:
        fields = json.loads(stored)
        return Properties(Kind[fields["kind"]], int(fields["ttl_millis"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptValue("the Redis hash cs1:datasets holds a dataset that cannot be read; see docs/reference/stores/redis.md") from exc
