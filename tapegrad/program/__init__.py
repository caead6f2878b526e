"""From a trace to what is replayed: passes, schedule, places, words, and the machine that runs them."""
