"""What is online, by name: joins from ZIPLINE_METADATA, group bys from the datasets that have a serving info."""

from dataclasses import dataclass

from chronoserve.fetcher.metadata import Metadata
from chronoserve.fetcher.ports import Lists
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model import naming
from chronoserve.model.errors import InvalidRequest, UnknownDataset

PAGE_NAMES = 100
_JOINS = b"joins/"
_BATCH = "_BATCH"


@dataclass(frozen=True, slots=True)
class Names:
    """A page of names; ``next_token`` is empty after the last one. A page may be short, or empty, before that."""

    names: tuple[str, ...]
    next_token: bytes


async def list_joins(lists: Lists, *, page_size: int, token: bytes, deadline: float) -> Names:
    """Raises InvalidRequest for a token that is none, or what keeps the store from being scanned."""
    try:
        page = await lists.scan(naming.METADATA_DATASET, token, keys_max=page_size or PAGE_NAMES, deadline=deadline)
    except UnknownDataset:
        return Names((), b"")
    names = (key.removeprefix(_JOINS).decode("utf-8", "replace") for key, _ in page.entries if key.startswith(_JOINS))
    return Names(tuple(names), page.next_token)


async def list_group_bys(lists: Lists, metadata: Metadata, *, page_size: int, token: bytes, deadline: float) -> Names:
    """``token``: the last dataset of the page before. Raises as ``list_joins`` does."""
    try:
        after = token.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("this page_token was not given by ListGroupBys", field="page_token") from None
    datasets = sorted(
        found.name for found in await lists.describe("", deadline=deadline) if found.name.endswith(_BATCH) and found.name > after
    )
    page = datasets[: page_size or PAGE_NAMES]
    served = await metadata.served.get(page, deadline=deadline)
    names = tuple(each.name for each in served if isinstance(each, ServedGroupBy))
    return Names(names, page[-1].encode() if len(page) < len(datasets) else b"")
