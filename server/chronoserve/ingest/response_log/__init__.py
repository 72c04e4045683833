"""Writing the log of fetched joins: a bounded queue off the request's path, and where its rows go."""
