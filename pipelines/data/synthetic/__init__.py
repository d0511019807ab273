"""The demo's data set: drawn people under drawn cameras, in Market-1501's layout, no download."""
