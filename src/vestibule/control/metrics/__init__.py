"""What is going on, over all workers: collected, added up, and written in the forms that people and programs read."""
