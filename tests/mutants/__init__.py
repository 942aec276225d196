"""Do the tests notice a plausible slip? ``make mutants`` makes one small mistake at a time in a copy of the tree, runs
the narrowest tests that should notice, and reports which mistakes stay unseen. It fails if fewer than 90 % are noticed.

    make mutants                                   every slip
    make mutants ARGS="acquire 'retry storm'"      those whose file or consequence contains one of these words
    make mutants ARGS="--list"                     the table

To add a slip, append ``Slip(old, new, tests, breaks)`` to the entry of its file in one of the ``table_*.py`` modules:
``old`` stands exactly once in that file, ``tests`` are the pytest arguments of the narrowest tests that should notice,
and ``breaks`` says what a user or an operator would suffer. A change of the code that removes ``old`` makes the slip
invalid: `make test` fails until the table follows. A slip that changes nothing observable carries
``survives="reason"``: it runs no test, counts for nothing, and is printed with its reason.

Good slips are those that a reviewer could overlook: a comparison flipped, a condition dropped, the wrong field, an
increment or a reset forgotten. docs/decisions/mutants.md says why the table is written by hand.
"""
