"""People look at videos and decide: queues, items, decisions, golden items, appeals, and how good all of it is."""
