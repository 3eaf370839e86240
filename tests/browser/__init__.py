"""The dashboard in a real browser. A package, so that its tests may be called as others are."""
