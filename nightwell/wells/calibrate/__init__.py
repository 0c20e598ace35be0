"""What an instrument's blanks and standards teach of it, and the corrections that follow."""
