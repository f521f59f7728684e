"""The tests, as one package, so that what one part builds another can use."""
