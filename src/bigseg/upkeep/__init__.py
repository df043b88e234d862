"""What is stored after a run: checked again, marked to be made again, or removed."""
