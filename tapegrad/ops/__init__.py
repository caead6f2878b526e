"""Operations: the table of primitives, a file of rows per kind, recording, and the derived namespace."""
