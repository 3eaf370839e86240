"""Videos that are known again: banks of them, and who recognises what."""
