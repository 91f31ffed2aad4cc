"""The decisions of the supervisor: what runs, when it is started again, in which order it stops."""
