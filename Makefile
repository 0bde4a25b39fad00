# make demo | demo-stop | test [TEST=name]

.PHONY: demo demo-stop test

# Moves a database in use between two private servers. EXIT=1: without a terminal, cleans up, status 0 when both sides are equal.
demo:
	@EXIT='$(EXIT)' demo/run

demo-stop:
	@demo/stop

# Everything that has to hold; TEST=name runs only the tests of that name.
test:
	@tests/run $(TEST)
