"""PS3.3 information objects: made from arrays today; validated and repaired by later modules of this room."""
