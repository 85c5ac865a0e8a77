"""What the site is built from: `pages/` by hand, and `reference/`, which writes pages from the code."""
