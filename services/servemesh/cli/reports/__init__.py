"""Reports of optimizations and evaluations as files that say everything by themselves."""
