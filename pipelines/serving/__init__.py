"""Answer searches over HTTP: a page and an interface for programs, safe on a machine of many."""
