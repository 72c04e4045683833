"""Datasets: named sets of keys, each with a kind and a ttl (spec/product.md §4, K2, K6, K9)."""

import enum
import re
from dataclasses import dataclass

DATASET_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class Kind(enum.IntEnum):
    """How the values of a key relate; the numbers are those of chronoserve.v1.DatasetKind."""

    LATEST = 1
    TIMED = 2

    @classmethod
    def of_name(cls, dataset: str) -> "Kind":
        """The kind of a dataset that was created without one: Chronon's streaming datasets keep every value."""
        return cls.TIMED if dataset.endswith("_STREAMING") else cls.LATEST


@dataclass(frozen=True, slots=True)
class Properties:
    """``ttl_millis``: how long a value lives after it was written; 0: for ever."""

    kind: Kind
    ttl_millis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One dataset of one store. A store hands out one instance for each name, so identity is equality and costs nothing."""

    name: str
    properties: Properties

    @property
    def timed(self) -> bool:
        return self.properties.kind is Kind.TIMED
