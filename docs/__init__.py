"""What the site is built from: `pages/` by hand, `reference/` from code, `results/` from runs."""
