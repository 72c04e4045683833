"""What Chronon's jobs are told from outside: teams.json and the environment of a mode. No job is started here."""
