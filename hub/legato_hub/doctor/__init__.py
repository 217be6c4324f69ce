"""`legato doctor`: looks at a running hub and at what it depends on, and says in plain words what is wrong."""
