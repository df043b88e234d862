"""What the report shows of the tracks of a movie: trees, figures over time, strips of pictures, words."""
