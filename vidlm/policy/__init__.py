"""A tenant's policies over time: sets that are drafted and put in force, tried on the past, put to it."""
