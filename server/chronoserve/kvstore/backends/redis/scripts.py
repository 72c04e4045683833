"""The scripts that write values, the commands that run them, and which writes of a batch one command takes.

A script holds the server's one thread, and nothing else is served meanwhile: so many keys and bytes that it is well below a
millisecond. A command of its own for each key costs more than twice as much, on both sides (bench/bulk.py).
"""

from collections.abc import Iterator, Sequence
from hashlib import sha1
from itertools import chain
from typing import NamedTuple

from chronoserve.kvstore.backends.redis.connection import pack
from chronoserve.kvstore.backends.redis.layout import EXPIRES_AT_BEGINS, member
from chronoserve.kvstore.port import PutRequest

SCRIPT_KEYS_MAX = 125
"""Keys of one script: with values of 200 B about 0.2 ms of the server for LATEST ones, up to 0.5 ms for TIMED ones."""

SCRIPT_BYTES_MAX = 256 << 10
"""Bytes of values after which a script takes no further key."""

PUT_LATEST = """
-- KEYS: keys, each once. ARGV: expires_at of all (0: never), then for each key its timed value and that one's millis.
-- The newest millis stays; at equal ones the later write.
local call, byte = redis.call, string.byte

local function varint(text, at)
  local number, scale = 0, 1
  while true do
    local digit = byte(text, at)
    at = at + 1
    if digit < 128 then return number + digit * scale, at end
    number = number + (digit - 128) * scale
    scale = scale * 128
  end
end

-- A timed value is 0a <length> 0a <length> <value> 10 <millis>; an empty value and zero millis are left out.
local function event_time(timed_value)
  local length, at = varint(timed_value, 2)
  if byte(timed_value, at) == 0x0a then
    length, at = varint(timed_value, at + 1)
    at = at + length
  end
  if byte(timed_value, at) ~= 0x10 then return 0 end
  return (varint(timed_value, at + 1))
end

-- The last seven bytes of a value are 10 <millis> where these are six bytes long, as they are from 1971 to 2109. A value
-- that leaves out its zero millis may end in the same bytes: so what they say is the value's time or later. Else: no bound.
local bounds = {}
local function bound(tail)
  local found = bounds[tail]
  if not found then
    local a, b, c, d, e, f, g = byte(tail, 1, 7)
    found = math.huge
    if g and a == 0x10 and g < 128 and math.min(b, c, d, e, f) > 127 then found = varint(tail, 2) end
    bounds[tail] = found
  end
  return found
end

local words, size = {}, 0
for index, key in ipairs(KEYS) do
  local tail, millis = call('GETRANGE', key, -7, -1), tonumber(ARGV[2 * index + 1])
  if tail == '' or bound(tail) <= millis or event_time(call('GET', key)) <= millis then
    words[size + 1], words[size + 2] = key, ARGV[2 * index]
    size = size + 2
  end
end
if ARGV[1] ~= '0' then
  for at = 1, size, 2 do call('SET', words[at], words[at + 1], 'PXAT', ARGV[1]) end
elseif size > 0 then
  call('MSET', unpack(words))
end
return 0
"""

PUT_TIMED = """
-- KEYS: keys. ARGV: now, then for each key: millis and nonce (24 bytes), expires_at (8) and timed value, expires_at (0: never).
-- A value that is there under the same millis and nonce stays as it is, unless it has expired.
local call, now = redis.call, tonumber(ARGV[1])

local function drop_expired(key, members)
  for _, member in ipairs(members) do
    if struct.unpack('>I8', member, 25) <= now then call('ZREM', key, member) end
  end
end

-- No member with this identity sorts after nine ff: expires_at is eight bytes and a timed value begins with 0a.
local last = string.rep('\\255', 9)

local function put(key, identity, stored, expires_at)
  local existed = call('EXISTS', key) == 1
  if existed then
    local same = call('ZRANGE', key, '[' .. identity, '(' .. identity .. last, 'BYLEX', 'LIMIT', 0, 1)
    if same[1] and struct.unpack('>I8', same[1], 25) > now then return end
    drop_expired(key, same)
    -- Each write looks at the oldest few: what expires is reclaimed at least as fast as it comes, at a bounded cost a write.
    if expires_at > 0 then drop_expired(key, call('ZRANGE', key, '-', '+', 'BYLEX', 'LIMIT', 0, 4)) end
  end
  call('ZADD', key, 0, identity .. stored)
  if expires_at == 0 then
    if existed then call('PERSIST', key) end
  elseif existed and call('ZCARD', key) > 1 then
    call('PEXPIREAT', key, expires_at, 'GT')
  else
    call('PEXPIREAT', key, expires_at)
  end
end

for index, key in ipairs(KEYS) do
  put(key, ARGV[3 * index - 1], ARGV[3 * index], tonumber(ARGV[3 * index + 1]))
end
return 0
"""

SCRIPTS = (PUT_LATEST, PUT_TIMED)
PUT_LATEST_SHA, PUT_TIMED_SHA = (sha1(script.encode()).hexdigest().encode() for script in SCRIPTS)  # noqa: S324 - EVALSHA's own naming


class Group(NamedTuple):
    """What one command writes. ``places``: in the batch, those included that lose against another of their key; the first is written."""

    command: bytes
    places: list[int]
    keys: int


def groups(keys: Sequence[bytes], puts: Sequence[PutRequest], now: int, *, keys_max: int) -> Iterator[Group]:
    """The commands that apply ``puts`` to the Redis keys ``keys``, up to ``keys_max`` of them each; ``now`` in epoch milliseconds.

    TIMED writes keep their order. Of the LATEST ones of a key only the winner is written, so their order is of no account.
    """
    if keys_max == 1:
        yield from (Group(_command(key, put, now), [place], 1) for place, (key, put) in enumerate(zip(keys, puts, strict=True)))
        return
    lost: dict[bytes, list[int]] = {}
    timed: Sequence[int] = ()
    if _are_alike(keys, puts):
        by_expiry: dict[int, Sequence[int]] = {puts[0].expires_at: range(len(puts))}
    else:
        timed = [place for place, put in enumerate(puts) if put.dataset.timed]
        by_expiry = _winners(keys, puts, lost)
    for expires_at, places in by_expiry.items():
        for part in _parts(places, puts, keys_max):
            named = [keys[place] for place in part]
            words: Iterator[bytes | int] = chain.from_iterable([(puts[place].timed_value, puts[place].millis) for place in part])
            losers = chain.from_iterable([lost[key] for key in named if key in lost]) if lost else ()
            yield Group(pack(b"EVALSHA", PUT_LATEST_SHA, len(part), *named, expires_at, *words), [*part, *losers], len(part))
    for part in _parts(timed, puts, keys_max):
        stored = chain.from_iterable([_timed_words(puts[place]) for place in part])
        yield Group(pack(b"EVALSHA", PUT_TIMED_SHA, len(part), *[keys[place] for place in part], now, *stored), [*part], len(part))


def _command(key: bytes, put: PutRequest, now: int) -> bytes:
    """The command for one write."""
    if put.dataset.timed:
        return pack(b"EVALSHA", PUT_TIMED_SHA, 1, key, now, *_timed_words(put))
    return pack(b"EVALSHA", PUT_LATEST_SHA, 1, key, put.expires_at, put.timed_value, put.millis)


def _are_alike(keys: Sequence[bytes], puts: Sequence[PutRequest]) -> bool:
    """LATEST writes of different keys that expire together, as a bulk load has them: there is nothing to sort."""
    datasets, expiries = {put.dataset for put in puts}, {put.expires_at for put in puts}
    return len(expiries) == 1 and not any(dataset.timed for dataset in datasets) and len(set(keys)) == len(keys)


def _winners(keys: Sequence[bytes], puts: Sequence[PutRequest], lost: dict[bytes, list[int]]) -> dict[int, Sequence[int]]:
    """The LATEST writes that win among those of their key, by when they expire; the others are added to ``lost``."""
    winners: dict[bytes, int] = {}
    for place, (key, put) in enumerate(zip(keys, puts, strict=True)):
        if not put.dataset.timed and (other := winners.setdefault(key, place)) != place:
            winners[key], loser = (place, other) if put.millis >= puts[other].millis else (other, place)
            lost.setdefault(key, []).append(loser)
    by_expiry: dict[int, list[int]] = {}
    for place in winners.values():
        by_expiry.setdefault(puts[place].expires_at, []).append(place)
    return {**by_expiry}


def _timed_words(put: PutRequest) -> tuple[bytes | int, ...]:
    stored = member(put)
    return stored[:EXPIRES_AT_BEGINS], stored[EXPIRES_AT_BEGINS:], put.expires_at


def _parts(places: Sequence[int], puts: Sequence[PutRequest], keys_max: int) -> Iterator[Sequence[int]]:
    """``places`` in order, in parts for a script each."""
    sizes = [len(puts[place].timed_value) for place in places]
    begin = size = 0
    if sizes and keys_max * max(sizes) <= SCRIPT_BYTES_MAX:
        yield from (places[start : start + keys_max] for start in range(0, len(places), keys_max))
        return
    for end, more in enumerate(sizes, 1):
        size += more
        if end - begin == keys_max or size >= SCRIPT_BYTES_MAX or end == len(sizes):
            yield places[begin:end]
            begin, size = end, 0
