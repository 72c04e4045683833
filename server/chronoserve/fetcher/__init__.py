"""The feature fetcher: plan, one read of the store, decode, merge, derive, answer (spec/online-fetch.md)."""
