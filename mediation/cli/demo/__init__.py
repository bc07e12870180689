"""`mediation demo`: its acts, its people, and the telephone network, the calls and the site that the tests use too."""
